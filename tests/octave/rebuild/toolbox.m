1;
% Stand-ins for what a rebuild script calls: constructors that accept the names of the
% reference pages and nothing else, and that check sizes; graphs; networks that compute,
% in double precision, by formulas written here. A layer is a struct; a signal is
% struct(value, space, time) with value height x width x channels x time.

% --- constructors ---------------------------------------------------------------------

function layer = made(call, defaults, learnable, given)
    layer = defaults;
    layer.Name = '';
    for k = 1:numel(learnable)
        layer.(learnable{k}) = [];
        layer.([learnable{k} 'LearnRateFactor']) = 1;
        layer.([learnable{k} 'L2Factor']) = 1;
    end
    for k = 1:2:numel(given)
        if ~ischar(given{k}) || ~isfield(layer, given{k})
            error('%s has no argument %s', call, disp(given{k}));
        end
        layer.(given{k}) = given{k + 1};
    end
    layer.call = call;
    layer.learnable = learnable;
    layer.ports = {'in'};
    layer.outlets = {'out'};
    if isempty(layer.Name), error('%s needs a name', call); end
end

function require(fits, layer, what)
    if ~fits, error('%s %s: %s has another size', layer.call, layer.Name, what); end
end

function layer = input_of(call, size, given)
    layer = made(call, struct('Normalization', 'none', 'Mean', [], ...
        'StandardDeviation', [], 'Min', [], 'Max', [], 'MinLength', 1), {}, given);
    layer.InputSize = size;
    layer.ports = {};
    extent = [size, 1];
    channels = [ones(1, numel(size) - 1), size(end), 1];
    for name = {'Mean', 'StandardDeviation', 'Min', 'Max'}
        shape = @(a) builtin('size', a);
        found = [shape(layer.(name{1})), 1];
        fits = any(numel(layer.(name{1})) == [0 1]);
        for wanted = {extent, channels}
            n = max(numel(found), numel(wanted{1}));
            fits = fits || isequal([found, ones(1, n - numel(found))], ...
                [wanted{1}, ones(1, n - numel(wanted{1}))]);
        end
        require(fits, layer, name{1});
    end
end
function layer = sequenceInputLayer(size, varargin)
    layer = input_of('sequenceInputLayer', size, varargin);
end
function layer = featureInputLayer(size, varargin)
    layer = input_of('featureInputLayer', size, varargin);
end
function layer = imageInputLayer(size, varargin)
    layer = input_of('imageInputLayer', size, varargin);
    if numel(size) ~= 3, error('imageInputLayer: [h w c]'); end
end

function layer = recurrent(call, units, gates, biases, extra, given)
    settings = struct('OutputMode', 'sequence', 'StateActivationFunction', 'tanh', ...
        'GateActivationFunction', 'sigmoid', 'HiddenState', [], 'HasStateInputs', false, ...
        'HasStateOutputs', false);
    for k = 1:2:numel(extra), settings.(extra{k}) = extra{k + 1}; end
    names = {'InputWeights', 'RecurrentWeights', 'Bias'};
    if isfield(settings, 'Projected')
        names = [names, {'InputProjector', 'OutputProjector'}];
    end
    layer = made(call, settings, names, given);
    layer.units = units;
    width = units;
    if isfield(settings, 'Projected')
        width = settings.Projected(1);
        require(isequal(size(layer.OutputProjector), [units, width]), layer, 'OutputProjector');
        require(size(layer.InputProjector, 2) == settings.Projected(2), layer, 'InputProjector');
        require(size(layer.InputWeights, 2) == settings.Projected(2), layer, 'InputWeights');
    end
    if strcmp(layer.(biases{1}), biases{2}), factor = 2; else, factor = 1; end
    require(size(layer.InputWeights, 1) == gates * units, layer, 'InputWeights');
    each = units * (1 + strcmp(call, 'bilstmLayer'));
    rows = gates * units;
    if ~isfield(settings, 'Projected'), width = units; end
    require(isequal(size(layer.RecurrentWeights), [rows, width]), layer, 'RecurrentWeights');
    require(isequal(size(layer.Bias), [factor * rows, 1]), layer, 'Bias');
    states = {'HiddenState', 'CellState'};
    states = states(1:1 + isfield(settings, 'CellState'));
    for name = states
        if isempty(layer.(name{1})), layer.(name{1}) = zeros(each, 1); end
        require(isequal(size(layer.(name{1})), [each, 1]), layer, name{1});
    end
    layer.states = states;
    ports = {'hidden', 'cell'};
    ports = ports(1:numel(states));
    if layer.HasStateInputs, layer.ports = [{'in'}, ports]; end
    if layer.HasStateOutputs, layer.outlets = [{'out'}, ports]; end
end
function layer = lstmLayer(units, varargin)
    layer = recurrent('lstmLayer', units, 4, {'OutputMode', ''}, {'CellState', []}, varargin);
end
function layer = bilstmLayer(units, varargin)
    layer = recurrent('bilstmLayer', units, 8, {'OutputMode', ''}, {'CellState', []}, varargin);
end
function layer = gruLayer(units, varargin)
    layer = recurrent('gruLayer', units, 3, {'ResetGateMode', ...
        'recurrent-bias-after-multiplication'}, {'ResetGateMode', 'after-multiplication'}, varargin);
end
function layer = lstmProjectedLayer(units, outer, inner, varargin)
    layer = recurrent('lstmProjectedLayer', units, 4, {'OutputMode', ''}, ...
        {'CellState', [], 'Projected', [outer inner]}, varargin);
end
function layer = gruProjectedLayer(units, outer, inner, varargin)
    layer = recurrent('gruProjectedLayer', units, 3, {'ResetGateMode', ...
        'recurrent-bias-after-multiplication'}, {'ResetGateMode', 'after-multiplication', ...
        'Projected', [outer inner]}, varargin);
end

function layer = fullyConnectedLayer(outputs, varargin)
    layer = made('fullyConnectedLayer', struct(), {'Weights', 'Bias'}, varargin);
    require(size(layer.Weights, 1) == outputs, layer, 'Weights');
    require(isequal(size(layer.Bias), [outputs 1]), layer, 'Bias');
end
function layer = reluLayer(varargin), layer = made('reluLayer', struct(), {}, varargin); end
function layer = tanhLayer(varargin), layer = made('tanhLayer', struct(), {}, varargin); end
function layer = sigmoidLayer(varargin), layer = made('sigmoidLayer', struct(), {}, varargin); end
function layer = swishLayer(varargin), layer = made('swishLayer', struct(), {}, varargin); end
function layer = softplusLayer(varargin), layer = made('softplusLayer', struct(), {}, varargin); end
function layer = softmaxLayer(varargin), layer = made('softmaxLayer', struct(), {}, varargin); end
function layer = identityLayer(varargin), layer = made('identityLayer', struct(), {}, varargin); end
function layer = flattenLayer(varargin), layer = made('flattenLayer', struct(), {}, varargin); end
function layer = constant(call, value, given)
    layer = made(call, struct(), {}, given);
    layer.constant = value;
    if ~isnumeric(value) || ~isscalar(value), error('%s: a number', call); end
end
function layer = leakyReluLayer(scale, varargin), layer = constant('leakyReluLayer', scale, varargin); end
function layer = clippedReluLayer(top, varargin), layer = constant('clippedReluLayer', top, varargin); end
function layer = eluLayer(alpha, varargin), layer = constant('eluLayer', alpha, varargin); end
function layer = dropoutLayer(p, varargin), layer = constant('dropoutLayer', p, varargin); end
function layer = geluLayer(varargin)
    layer = made('geluLayer', struct('Approximation', 'none'), {}, varargin);
end
function layer = preluLayer(varargin), layer = made('preluLayer', struct(), {'Alpha'}, varargin); end
function layer = functionLayer(fun, varargin)
    layer = made('functionLayer', struct('Description', ''), {}, varargin);
    layer.fun = fun;
end
function layer = scalingLayer(varargin)
    layer = made('scalingLayer', struct('Scale', 1, 'Bias', 0), {}, varargin);
end
function layer = batchNormalizationLayer(varargin)
    layer = made('batchNormalizationLayer', struct('Epsilon', 1e-5, 'TrainedMean', [], ...
        'TrainedVariance', []), {'Scale', 'Offset'}, varargin);
end
function layer = layerNormalizationLayer(varargin)
    layer = made('layerNormalizationLayer', struct('Epsilon', 1e-5, ...
        'OperationDimension', 'auto'), {'Scale', 'Offset'}, varargin);
end
function layer = groupNormalizationLayer(groups, varargin)
    layer = made('groupNormalizationLayer', struct('Epsilon', 1e-5), {'Scale', 'Offset'}, varargin);
    layer.groups = groups;
end
function layer = instanceNormalizationLayer(varargin)
    layer = made('instanceNormalizationLayer', struct('Epsilon', 1e-5), {'Scale', 'Offset'}, varargin);
end

function layer = windowed(call, size, defaults, learnable, given)
    layer = made(call, defaults, learnable, given);
    layer.size = size;
end
function layer = convolved(call, size, filters, axes, given)
    layer = windowed(call, size, struct('Stride', 1, 'DilationFactor', 1, 'Padding', 0, ...
        'PaddingValue', 0), {'Weights', 'Bias'}, given);
    layer.filters = filters;
    layer.axes = axes;
    if ~isempty(layer.Weights)
        extent = [builtin('size', layer.Weights), 1, 1];
        require(isequal(extent(1:axes), size(:).') && extent(axes + 2) == filters(1), ...
            layer, 'Weights');
        require(numel(layer.Bias) == prod(filters), layer, 'Bias');
    end
end
function layer = convolution1dLayer(size, filters, varargin)
    layer = convolved('convolution1dLayer', size, filters, 1, varargin);
end
function layer = convolution2dLayer(size, filters, varargin)
    layer = convolved('convolution2dLayer', size, filters, 2, varargin);
end
function layer = groupedConvolution2dLayer(size, each, groups, varargin)
    layer = convolved('groupedConvolution2dLayer', size, [each groups], 2, varargin);
end
function layer = pooling(call, size, given)
    settings = struct('Stride', 1, 'Padding', 0);
    if strncmp(call, 'average', 7), settings.PaddingValue = 0; end
    layer = windowed(call, size, settings, {}, given);
end
function layer = maxPooling1dLayer(size, varargin), layer = pooling('maxPooling1dLayer', size, varargin); end
function layer = averagePooling1dLayer(size, varargin), layer = pooling('averagePooling1dLayer', size, varargin); end
function layer = maxPooling2dLayer(size, varargin), layer = pooling('maxPooling2dLayer', size, varargin); end
function layer = averagePooling2dLayer(size, varargin), layer = pooling('averagePooling2dLayer', size, varargin); end
function layer = globalMaxPooling1dLayer(varargin), layer = made('globalMaxPooling1dLayer', struct(), {}, varargin); end
function layer = globalAveragePooling1dLayer(varargin), layer = made('globalAveragePooling1dLayer', struct(), {}, varargin); end
function layer = globalMaxPooling2dLayer(varargin), layer = made('globalMaxPooling2dLayer', struct(), {}, varargin); end
function layer = globalAveragePooling2dLayer(varargin), layer = made('globalAveragePooling2dLayer', struct(), {}, varargin); end
function layer = indexing1dLayer(index, varargin)
    layer = made('indexing1dLayer', struct(), {}, varargin);
    layer.index = index;
end

function layer = joining(call, count, given)
    layer = made(call, struct(), {}, given);
    layer.ports = arrayfun(@(k) sprintf('in%d', k), 1:count, 'UniformOutput', false);
end
function layer = additionLayer(count, varargin), layer = joining('additionLayer', count, varargin); end
function layer = multiplicationLayer(count, varargin), layer = joining('multiplicationLayer', count, varargin); end
function layer = depthConcatenationLayer(count, varargin), layer = joining('depthConcatenationLayer', count, varargin); end
function layer = concatenationLayer(dim, count, varargin)
    layer = joining('concatenationLayer', count, varargin);
    layer.dim = dim;
end

function layer = wordEmbeddingLayer(width, words, varargin)
    layer = made('wordEmbeddingLayer', struct('OOVMode', 'map-to-last'), {'Weights'}, varargin);
    extra = strcmp(layer.OOVMode, 'map-to-last');
    require(isequal(size(layer.Weights), [width, words + extra]), layer, 'Weights');
end
function layer = positionEmbeddingLayer(width, longest, varargin)
    layer = made('positionEmbeddingLayer', struct(), {'Weights'}, varargin);
    require(isequal(size(layer.Weights), [width, longest]), layer, 'Weights');
end
function layer = selfAttentionLayer(heads, keys, varargin)
    names = {};
    for part = {'Query', 'Key', 'Value', 'Output'}
        names = [names, {[part{1} 'Weights'], [part{1} 'Bias']}];
    end
    layer = made('selfAttentionLayer', struct('NumValueChannels', 'auto', ...
        'OutputSize', 'auto', 'AttentionMask', 'none'), names, varargin);
    layer.heads = heads;
    require(size(layer.QueryWeights, 1) == keys && size(layer.KeyWeights, 1) == keys, layer, 'keys');
    require(size(layer.ValueWeights, 1) == layer.NumValueChannels, layer, 'ValueWeights');
    require(size(layer.OutputWeights, 1) == layer.OutputSize, layer, 'OutputWeights');
    require(isequal(size(layer.QueryBias), [keys 1]), layer, 'QueryBias');
end
function layer = attentionLayer(heads, varargin)
    layer = made('attentionLayer', struct('AttentionMask', 'none', 'Scale', 'auto'), {}, varargin);
    layer.heads = heads;
    layer.ports = {'query', 'key', 'value'};
end
function layer = regressionLayer(varargin), layer = made('regressionLayer', struct(), {}, varargin); end
function layer = classificationLayer(varargin)
    layer = made('classificationLayer', struct('Classes', 'auto'), {}, varargin);
    if ~iscellstr(layer.Classes), error('classificationLayer: no classes'); end
end

% --- graphs ---------------------------------------------------------------------------

function graph = layerGraph()
    graph = struct('layers', {{}}, 'wires', {cell(0, 2)});
end
function graph = addLayers(graph, layer)
    if any(strcmp(names_of(graph), layer.Name)), error('two layers %s', layer.Name); end
    graph.layers{end + 1} = layer;
end
function names = names_of(graph)
    names = cellfun(@(layer) layer.Name, graph.layers, 'UniformOutput', false);
end
function graph = connectLayers(graph, source, target)
    graph.wires(end + 1, :) = {port(graph, source, 'outlets'), port(graph, target, 'ports')};
    targets = graph.wires(:, 2);
    if numel(unique(targets)) < numel(targets), error('%s is connected already', target); end
end
function full = port(graph, text, kind)
    % The whole name of a port; a layer with several needs one.
    k = find(strcmp(names_of(graph), strtok(text, '/')));
    if isempty(k), error('no layer %s', text); end
    known = graph.layers{k}.(kind);
    if any(text == '/')
        full = text;
    elseif numel(known) == 1
        full = [text '/' known{1}];
    else
        error('%s has %d ports', text, numel(known));
    end
    if ~any(strcmp(full, strcat([strtok(text, '/') '/'], known))), error('no port %s', full); end
end
function loose = unconnected(graph, kind, column)
    loose = {};
    for k = 1:numel(graph.layers)
        layer = graph.layers{k};
        for name = layer.(kind)
            full = [layer.Name '/' name{1}];
            if ~any(strcmp(graph.wires(:, column), full)), loose{end + 1} = full; end
        end
    end
end
function short = without_port(full)
    short = regexprep(full, '/(out|in)$', '');
end

% --- networks -------------------------------------------------------------------------

function yes = is_output(layer)
    yes = any(strcmp(layer.call, {'regressionLayer', 'classificationLayer'}));
end
function net = network_of(graph, kind)
    if ~isempty(unconnected(graph, 'ports', 2)), error('an input is not connected'); end
    net = struct('kind', kind, 'graph', graph);
    starts = cellfun(@(layer) isempty(layer.ports), graph.layers);
    names = names_of(graph);
    % Not in the order of the layers: nothing may rely on it.
    net.InputNames = fliplr(names(starts));
end
function net = assembleNetwork(graph)
    ends = unconnected(graph, 'outlets', 1);
    for k = 1:numel(graph.layers)
        if any(strcmp(ends, [graph.layers{k}.Name '/out'])) && ~is_output(graph.layers{k})
            error('%s is no output layer', graph.layers{k}.Name);
        end
    end
    net = network_of(graph, 'trained');
    outputs = cellfun(@is_output, graph.layers);
    names = names_of(graph);
    net.OutputNames = fliplr(names(outputs));
end
function net = dlnetwork(graph, varargin)
    if any(cellfun(@is_output, graph.layers)), error('a dlnetwork has no output layers'); end
    net = network_of(graph, 'dlnetwork');
    net.OutputNames = cellfun(@without_port, unconnected(graph, 'outlets', 1), ...
        'UniformOutput', false);
    if numel(varargin) == 2 && strcmp(varargin{1}, 'OutputNames')
        net.OutputNames = varargin{2};
    elseif ~isempty(varargin)
        error('dlnetwork: unknown argument');
    end
    net.Learnables = table_of(graph, 'learnable');
    net.State = table_of(graph, 'states');
end
function rows = table_of(graph, kind)
    % Rounded to single, so that whoever wants double has to see to it.
    rows = struct('Layer', {{}}, 'Parameter', {{}}, 'Value', {{}});
    for k = 1:numel(graph.layers)
        layer = graph.layers{k};
        names = {};
        if isfield(layer, kind), names = layer.(kind); end
        if strcmp(kind, 'states') && strcmp(layer.call, 'batchNormalizationLayer')
            names = {'TrainedMean', 'TrainedVariance'};
        end
        for name = names
            rows.Layer{end + 1, 1} = layer.Name;
            rows.Parameter{end + 1, 1} = name{1};
            rows.Value{end + 1, 1} = dlarray(single(layer.(name{1})));
        end
    end
end
function a = dlarray(data, labels)
    if nargin < 2, labels = ''; end
    a = struct('data', {data}, 'labels', labels);
end
function data = extractdata(a), data = a.data; end

function varargout = predict(net, varargin)
    n = numel(net.InputNames);
    names = names_of(net.graph);
    given = containers.Map();
    for i = 1:n
        layer = net.graph.layers{strcmp(names, net.InputNames{i})};
        given(layer.Name) = signal_of(net, layer, varargin{i});
    end
    wanted = net.OutputNames;
    options = varargin(n + 1:end);
    if strcmp(net.kind, 'dlnetwork')
        if numel(options) ~= 2 || ~strcmp(options{1}, 'Outputs'), error('Outputs only'); end
        wanted = options{2};
        net.graph.layers = in_tables(net);
    elseif ~isequal(options, {'MiniBatchSize', 1, 'ExecutionEnvironment', 'cpu'})
        error('MiniBatchSize 1 on the cpu');
    end
    results = run_graph(net, given);
    for j = 1:numel(wanted)
        full = wanted{j};
        if ~any(full == '/'), full = [full '/out']; end
        varargout{j} = given_back(net, results(full));
    end
end
function layers = in_tables(net)
    layers = net.graph.layers;
    for rows = {net.Learnables, net.State}
        for k = 1:numel(rows{1}.Layer)
            at = strcmp(names_of(net.graph), rows{1}.Layer{k});
            layers{at}.(rows{1}.Parameter{k}) = extractdata(rows{1}.Value{k});
        end
    end
end
function x = signal_of(net, layer, given)
    % What the caller gives, in the only form that each kind of network takes.
    size_ = layer.InputSize;
    space = numel(size_) - 1;
    time = strcmp(layer.call, 'sequenceInputLayer');
    if strcmp(net.kind, 'dlnetwork')
        wanted = [repmat('S', 1, space), 'CB', repmat('T', 1, time)];
        if ~strcmp(given.labels, wanted), error('labels %s, not %s', given.labels, wanted); end
        data = given.data;
        extent = [size(data), 1, 1, 1];
        if extent(space + 2) ~= 1, error('the batch is not one'); end
        steps = extent(space + 3);
    elseif time
        if ~iscell(given) || numel(given) ~= 1, error('a sequence in a cell'); end
        data = given{1};
        extent = [size(data), 1];
        steps = extent(space + 2);
    else
        data = given;
        if space == 0
            if size(data, 1) ~= 1, error('features are rows'); end
            data = data.';
        end
        extent = [size(data), 1];
        steps = 1;
    end
    if ~isequal(extent(1:space + 1), size_), error('input of another size'); end
    grid = [size_(1:space), ones(1, 2 - space)];
    x = struct('value', reshape(double(data), [grid, size_(end), steps]), ...
        'space', space, 'time', time);
end
function y = given_back(net, x)
    extent = [size(x.value), 1, 1, 1];
    grid = extent(1:x.space);
    if strcmp(net.kind, 'dlnetwork')
        letters = [repmat('S', 1, x.space), 'CB', repmat('T', 1, x.time)];
        y = dlarray(reshape(x.value, [grid, extent(3), 1, extent(4)]), letters);
    elseif x.time
        y = {reshape(x.value, [grid, extent(3), extent(4)])};
    elseif x.space == 0
        y = reshape(x.value, 1, extent(3));
    else
        y = reshape(x.value, [grid, extent(3), 1]);
    end
end
function results = run_graph(net, given)
    graph = net.graph;
    results = containers.Map();
    for k = 1:numel(graph.layers)
        layer = graph.layers{k};
        inputs = {};
        if isempty(layer.ports), inputs = {given(layer.Name)}; end
        for name = layer.ports
            at = strcmp(graph.wires(:, 2), [layer.Name '/' name{1}]);
            inputs{end + 1} = results(graph.wires{at, 1});
        end
        if strcmp(net.kind, 'trained') && ~isempty(layer.ports) && ~strcmp(layer.call, 'flattenLayer')
            films = cellfun(@(x) x.time && x.space > 0, inputs);
            if any(films), error('%s: images over time need folding layers', layer.Name); end
        end
        outputs = forward(layer, inputs);
        for p = 1:numel(layer.outlets)
            results([layer.Name '/' layer.outlets{p}]) = outputs{p};
        end
    end
end
