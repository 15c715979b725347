function graph = series_graph(layers)
    % The graph of layers in a row.
    names = cellfun(@(layer) layer.Name, layers(:), 'UniformOutput', false);
    graph.Connections = struct('Source', {names(1:end - 1)}, 'Destination', {names(2:end)});
    graph.InputNames = names(1);
end
