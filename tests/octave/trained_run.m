function results = trained_run(net, graph, X, options)
    % One observation through a trained network: a cell {C x T}, or features 1 x C.
    options = struct(options{:});
    if options.MiniBatchSize ~= 1 || ~strcmp(options.ExecutionEnvironment, 'cpu')
        error('expected MiniBatchSize 1 on the cpu');
    end
    inputs = cell(1, numel(X));
    for i = 1:numel(X)
        found = cellfun(@(layer) strcmp(layer.Name, graph.InputNames{i}), net.Layers);
        layer = net.Layers{found};
        if isa(layer, 'nnet.cnn.layer.FeatureInputLayer')
            x = struct('value', X{i}.', 'time', false);
        elseif iscell(X{i}) && numel(X{i}) == 1
            x = struct('value', X{i}{1}, 'time', true);
        else
            error('expected one sequence in a cell array');
        end
        if size(x.value, 1) ~= layer.InputSize || (~x.time && size(x.value, 2) ~= 1)
            error('input %d does not fit the input layer', i);
        end
        inputs{i} = x;
    end
    results = run_layers(net.Layers, graph.Connections, graph.InputNames, inputs);
end
