classdef AdditionLayer < nnet.cnn.layer.Layer
    % Stand-in: the sum of the inputs.
    methods
        function outputs = forward(layer, inputs)
            total = inputs{1};
            for k = 2:numel(inputs)
                total.value = total.value + inputs{k}.value;
            end
            outputs = {total};
        end
    end
end
