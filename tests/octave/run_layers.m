function results = run_layers(layers, connections, input_names, inputs)
    % Every layer's outputs, as a map 'layer' and 'layer/port' -> struct(value, time).
    results = containers.Map();
    for k = 1:numel(layers)
        name = layers{k}.Name;
        fed = strcmp(strtok(connections.Destination, '/'), name);
        sources = connections.Source(fed);
        given = find(strcmp(input_names, name), 1);
        if ~isempty(given)
            arriving = inputs(given);
        else
            arriving = cellfun(@(source) results(source), sources, 'UniformOutput', false);
        end
        outputs = forward(layers{k}, arriving);
        ports = layers{k}.OutputNames;
        results(name) = outputs{1};
        for p = 1:numel(ports)
            results([name '/' ports{p}]) = outputs{p};
        end
    end
end
