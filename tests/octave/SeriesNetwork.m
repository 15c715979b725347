classdef SeriesNetwork
    % Stand-in: layers in a row; no Connections, InputNames or OutputNames, as of old.
    properties
        Layers = {};
    end
    methods
        function Y = predict(net, X, varargin)
            results = trained_run(net, series_graph(net.Layers), {X}, varargin);
            Y = trained_output(results(net.Layers{end}.Name), 'cell');
        end
        function A = activations(net, X, name, varargin)
            results = trained_run(net, series_graph(net.Layers), {X}, varargin);
            A = trained_activation(results(name), 'cell');
        end
        function net = resetState(net)
            if ~any(cellfun(@(layer) isa(layer, 'nnet.cnn.layer.LSTMLayer'), net.Layers))
                error('resetState: no recurrent layer');
            end
            net.Layers = cellfun(@rewind, net.Layers, 'UniformOutput', false);
        end
    end
end
