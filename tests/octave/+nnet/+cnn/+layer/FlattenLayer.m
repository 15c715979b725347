classdef FlattenLayer < nnet.cnn.layer.Layer
    % Stand-in: H x W x C x T becomes HWC x T, column-major.
    methods
        function outputs = forward(layer, inputs)
            x = inputs{1}.value;
            outputs = {struct('value', reshape(x, [], size(x, 4)), 'time', inputs{1}.time)};
        end
    end
end
