classdef FullyConnectedLayer < nnet.cnn.layer.Layer
    % Stand-in: Weights x + Bias at every time step.
    properties
        InputSize = 'auto';
        OutputSize = 0;
        Weights = [];
        Bias = [];
        WeightsLearnRateFactor = 1;
    end
    methods
        function outputs = forward(layer, inputs)
            x = double(inputs{1}.value);
            y = double(plain_number(layer.Weights)) * x + double(plain_number(layer.Bias));
            outputs = {struct('value', y, 'time', inputs{1}.time)};
        end
    end
end
