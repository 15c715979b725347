classdef LSTMLayer < nnet.cnn.layer.Layer
    % Stand-in: a real LSTM, rows of the weights in the order input, forget, cell, output.
    properties
        InputSize = 'auto';
        NumHiddenUnits = 0;
        OutputMode = 'sequence';
        StateActivationFunction = 'tanh';
        GateActivationFunction = 'sigmoid';
        HasStateOutputs = false;
        InputWeights = [];
        RecurrentWeights = [];
        Bias = [];
        HiddenState = [];
        CellState = [];
        InputWeightsInitializer = 'glorot';
        RecurrentWeightsInitializer = 'orthogonal';
        InputWeightsLearnRateFactor = 1;
        RecurrentWeightsLearnRateFactor = [1 2 3 4];
        BiasL2Factor = 0;
    end
    properties (Hidden)
        InitialHiddenState = [];
        InitialCellState = [];
    end
    methods
        function outputs = forward(layer, inputs)
            x = double(inputs{1}.value);
            units = layer.NumHiddenUnits;
            h = double(layer.HiddenState);
            c = double(layer.CellState);
            y = zeros(units, size(x, 2));
            for t = 1:size(x, 2)
                z = double(layer.InputWeights) * x(:, t) ...
                    + double(layer.RecurrentWeights) * h + double(layer.Bias);
                gates = 1 ./ (1 + exp(-z));
                candidate = tanh(z(2 * units + 1:3 * units));
                c = gates(units + 1:2 * units) .* c + gates(1:units) .* candidate;
                h = gates(3 * units + 1:end) .* tanh(c);
                y(:, t) = h;
            end
            time = inputs{1}.time && strcmp(layer.OutputMode, 'sequence');
            if ~time
                y = h;
            end
            outputs = {struct('value', y, 'time', time), ...
                struct('value', h, 'time', false), struct('value', c, 'time', false)};
        end
        function layer = rewind(layer)
            layer.HiddenState = layer.InitialHiddenState;
            layer.CellState = layer.InitialCellState;
        end
    end
end
