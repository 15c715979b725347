classdef ScaleLayer < nnet.cnn.layer.Layer
    % Stand-in for a custom layer, with properties that a file cannot hold as they are.
    properties
        Scale = 1;
        Transform = [];
        Owner = [];
        Remark = '';
        Settings = struct();
    end
    properties (Dependent)
        Broken
    end
    methods
        function outputs = forward(layer, inputs)
            outputs = inputs(1);
            outputs{1}.value = layer.Transform(double(plain_number(layer.Scale)) .* inputs{1}.value);
        end
        function value = get.Broken(layer)
            error('this property cannot be read');
        end
    end
end
