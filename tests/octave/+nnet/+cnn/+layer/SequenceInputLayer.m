classdef SequenceInputLayer < nnet.cnn.layer.Layer
    % Stand-in: normalises, (x - Mean) / StandardDeviation or to [0, 1].
    properties
        InputSize = [];
        Normalization = 'none';
        Mean = [];
        StandardDeviation = [];
        Min = [];
        Max = [];
    end
    methods
        function outputs = forward(layer, inputs)
            x = inputs{1}.value;
            switch layer.Normalization
                case 'zscore'
                    x = (x - layer.Mean) ./ layer.StandardDeviation;
                case 'rescale-zero-one'
                    x = (x - layer.Min) ./ (layer.Max - layer.Min);
            end
            outputs = {struct('value', x, 'time', inputs{1}.time)};
        end
    end
end
