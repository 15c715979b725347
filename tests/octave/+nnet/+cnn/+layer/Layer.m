classdef Layer
    % Stand-in for the base class of all layers.
    properties
        Name = '';
        InputNames = {'in'};
        OutputNames = {'out'};
    end
    methods
        function outputs = forward(layer, inputs)
            % inputs, outputs: cell of struct(value, time); here: the identity.
            outputs = inputs(1);
        end
        function layer = rewind(layer)
        end
    end
end
