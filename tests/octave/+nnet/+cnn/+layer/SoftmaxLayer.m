classdef SoftmaxLayer < nnet.cnn.layer.Layer
    % Stand-in: softmax over the channels.
    methods
        function outputs = forward(layer, inputs)
            e = exp(inputs{1}.value);
            outputs = {struct('value', e ./ sum(e, 1), 'time', inputs{1}.time)};
        end
    end
end
