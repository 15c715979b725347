function run_exports(folder)
    % Builds the stand-in networks of folder/standins.mat and exports each of them.
    given = load(fullfile(folder, 'standins.mat'));
    file = @(name) fullfile(folder, [name '.mat']);

    net = SeriesNetwork();
    net.Layers = build_layers(given.series.layers);
    net.Layers{end}.Classes = categorical(given.series.classes(:));
    jlstm_export(net, given.series.X, file('series'));

    net = DAGNetwork();
    net.Layers = build_layers(given.dag.layers);
    net.InputNames = given.dag.input_names;
    net.OutputNames = given.dag.output_names;
    net.Connections = struct('Source', {given.dag.source(:)}, ...
        'Destination', {given.dag.destination(:)});
    dag = net;
    exported = jlstm_export(net, given.dag.X, file('dag'));
    save('-v7', file('returned'), 'exported');

    net = labelled_network(given.labelled);
    net.Layers{3}.Transform = @(x) 2 * x;
    net.Layers{3}.Owner = containers.Map();
    net.Layers{3}.Remark = string('two words');
    net.Layers{3}.Settings = struct('labels', string({'a'; 'b'}), 'inner', {{net.Layers{3}.Owner, 1}});
    net.Layers{3}.Scale = dlarray(gpuArray(net.Layers{3}.Scale));
    net.Learnables.Value = cellfun(@(v) dlarray(gpuArray(v)), given.labelled.values(:), ...
        'UniformOutput', false);
    net.Refused = 'scale';
    jlstm_export(net, file('labelled'), 'Steps', 9);

    net = labelled_network(given.video);
    jlstm_export(net, given.video.X, file('video'));

    net = SeriesNetwork();
    net.Layers = build_layers(given.features.layers);
    jlstm_export(net, given.features.X, file('features'));

    layers = build_layers(given.assembled.layers);
    jlstm_export(layers, [], file('assembled'), 'Activations', false);
    layers{2}.InputWeights = [];
    layers{2}.Name = '';
    jlstm_export(layers, file('untrained'));

    messages = {failure(@() jlstm_export(containers.Map())), ...
        failure(@() jlstm_export(dag, ones(3, 4), file('none'))), ...
        failure(@() jlstm_export(dag, {}, file('none'), 'Speed', 3))};
    save('-v7', file('messages'), 'messages');
end

function net = labelled_network(given)
    net = dlnetwork();
    net.Layers = build_layers(given.layers);
    graph = series_graph(net.Layers);
    net.Connections = graph.Connections;
    net.InputNames = graph.InputNames;
    net.OutputNames = {net.Layers{end}.Name};
    net.Learnables.Layer = string(given.owners(:));
    net.Learnables.Parameter = string(given.parameters(:));
    net.Learnables.Value = cellfun(@(v) dlarray(v), given.values(:), 'UniformOutput', false);
end

function text = failure(action)
    text = 'no error';
    try
        action();
    catch problem
        text = [problem.identifier ': ' problem.message];
    end
end
