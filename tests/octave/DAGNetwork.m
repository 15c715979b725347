classdef DAGNetwork
    % Stand-in: a graph with several inputs and outputs, whose state cannot be reset and
    % which returns sequences as arrays: activations C x 1 x T, responses O x T.
    properties
        Layers = {};
        Connections = struct();
        InputNames = {};
        OutputNames = {};
    end
    methods
        function varargout = predict(net, varargin)
            n = numel(net.InputNames);
            results = trained_run(net, net, varargin(1:n), varargin(n + 1:end));
            for j = 1:max(nargout, 1)
                varargout{j} = trained_output(results(net.OutputNames{j}), 'array');
            end
        end
        function A = activations(net, varargin)
            n = numel(net.InputNames);
            results = trained_run(net, net, varargin(1:n), varargin(n + 2:end));
            A = trained_activation(results(varargin{n + 1}), 'array');
        end
        function net = resetState(net)
            error('resetState: refused by the stand-in');
        end
    end
end
