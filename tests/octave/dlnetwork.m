classdef dlnetwork
    % Stand-in: takes and returns labelled arrays; parameters and state also in tables.
    properties
        Layers = {};
        Connections = struct();
        InputNames = {};
        OutputNames = {};
        Learnables = struct('Layer', {string({})}, 'Parameter', {string({})}, 'Value', {{}});
        Refused = '';
    end
    properties (Dependent)
        State
    end
    methods
        function T = get.State(net)
            T = struct('Layer', {{}}, 'Parameter', {{}}, 'Value', {{}});
            for k = 1:numel(net.Layers)
                layer = net.Layers{k};
                if isa(layer, 'nnet.cnn.layer.LSTMLayer')
                    T.Layer(end + 1:end + 2, 1) = {layer.Name};
                    T.Parameter(end + 1:end + 2, 1) = {'HiddenState'; 'CellState'};
                    T.Value(end + 1:end + 2, 1) = ...
                        {dlarray(layer.HiddenState); dlarray(layer.CellState)};
                end
            end
        end
        function varargout = predict(net, varargin)
            n = numel(net.InputNames);
            inputs = cell(1, n);
            for i = 1:n
                inputs{i} = unlabelled(varargin{i});
            end
            results = run_layers(net.Layers, net.Connections, net.InputNames, inputs);
            wanted = net.OutputNames;
            if numel(varargin) > n
                if ~strcmp(varargin{n + 1}, 'Outputs'), error('unknown option'); end
                wanted = varargin(n + 2);
            end
            if any(strcmp(wanted, net.Refused))
                error('the stand-in refuses %s', net.Refused);
            end
            for j = 1:max(nargout, 1)
                varargout{j} = labelled(results(wanted{j}), class(extractdata(varargin{1})));
            end
        end
        function net = resetState(net)
            net.Layers = cellfun(@rewind, net.Layers, 'UniformOutput', false);
        end
    end
end

function x = unlabelled(X)
    labels = dims(X);
    data = double(extractdata(X));
    extent = [size(data), ones(1, numel(labels))];
    if extent(labels == 'B') ~= 1, error('expected one sequence'); end
    keep = extent(find(labels ~= 'B'));
    x = struct('value', reshape(data, [keep, 1]), 'time', any(labels == 'T'));
end

function Y = labelled(result, type)
    data = cast(result.value, type);
    spatial = ndims(data) - 2;
    labels = [repmat('S', 1, spatial), 'CBT'];
    if result.time
        extent = size(data);
        Y = dlarray(reshape(data, [extent(1:end - 1), 1, extent(end)]), labels);
    else
        Y = dlarray(data, labels(1:end - 1));
    end
end
