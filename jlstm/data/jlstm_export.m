function exported = jlstm_export(net, varargin)
%JLSTM_EXPORT  Write a network as plain structs, with proof of what it computes.
%
%   jlstm_export(net, X, 'net_export.mat') writes every property of every layer, the
%   connections, and golden vectors: the inputs X, what predict returns for them and
%   what every layer puts out, one sequence at a time from the initial state. jlstm
%   reads the file with no MATLAB at hand and checks its own numbers against it.
%
%   jlstm_export(net)                       a deterministic X, file net_export.mat
%   jlstm_export(net, 'file.mat')           a deterministic X
%   jlstm_export(net, X, 'file.mat', 'Activations', false)
%   exported = jlstm_export(...)            the struct that was written
%
%   net   SeriesNetwork, DAGNetwork, dlnetwork, layerGraph or array of layers. The last
%         two get golden vectors when assembleNetwork accepts them as they are.
%   X     C x T for one sequence (time runs along the columns), or a cell array of such
%         matrices, one per sequence; H x W x C x T for sequences of images. With several
%         inputs: a cell array with one row per sequence and one column per input, in the
%         order of net.InputNames. A net of feature vectors: C x N, each column by itself.
%   'Steps' (25)           time steps of the deterministic X: sin(k^2) at element k, scaled
%                          to the range of the statistics in the input layer.
%   'Activations' (true)   false leaves the layers' outputs out, for a smaller file.
%
%   The file holds one struct, jlstm, in format -v7 (-v7.3 when too large for it):
%     format, version, release, created, object_class, precision
%     layers{k}      class, name, properties (under their MATLAB names), initial_state
%                    (HiddenState and CellState after resetState, [] where there is none; the
%                    properties of these names hold the state in which net was given)
%     learnables{k}, state{k}, initial_state{k}   of a dlnetwork: layer, parameter, value
%     connections    source, destination, as in the Connections table
%     input_names, output_names
%     golden(k)      input{i}, as given; output{j}, O x T or O x 1 (the row that predict
%                    returns for a sequence-to-one net is transposed); layers.name and
%                    layers.value (O x T, O x 1 or H x W x C x T; 'layer/port' where a
%                    layer has several outputs); mini_batch_size 1; start 'initial', or
%                    'current' where the state could not be reset; classes, in the order
%                    of the scores
%     notes          everything that could not be exported, one line each
%   Not kept as it is: a string or categorical becomes char or cellstr, a function handle
%   struct('function_handle', its text), a dlarray or gpuArray a plain array, any other
%   object struct('unsupported_class', its class) and a note.
%
%   Meant for R2018a and later. What a release lacks becomes a note: activations of
%   recurrent layers, several inputs, dlnetwork.
%
%   What is unproven: nobody has run this file in MATLAB. Its syntax, control flow and
%   file layout are tested under GNU Octave, on stand-in classes that follow the reference
%   pages; the answers of the real objects are not, above all the shape in which
%   activations returns sequences in the older releases.

    [X, file, options] = read_inputs(varargin);
    note({});
    jlstm = struct('format', 'jlstm-matlab-network', 'version', 1);
    jlstm.release = ['R' version('-release')];
    if exist('OCTAVE_VERSION', 'builtin'), jlstm.release = ['Octave ' version()]; end
    jlstm.created = datestr(now, 'yyyy-mm-ddTHH:MM:SS');
    jlstm.object_class = class(net);
    jlstm.precision = 'single';
    call = as_callable(net);
    [jlstm.layers, call.names] = export_layers(call.layers, layers_of(call.fresh));
    if strcmp(call.kind, 'dlnetwork')
        [jlstm.learnables, jlstm.precision] = parameter_list(call.net.Learnables);
        jlstm.state = parameter_list(call.net.State);
        jlstm.initial_state = parameter_list(call.fresh.State);
    end
    jlstm.connections = connections_of(call.net, call.names);
    jlstm.input_names = names_of(call.net, 'InputNames', call.names(1));
    jlstm.output_names = names_of(call.net, 'OutputNames', call.names(end));
    call.precision = jlstm.precision;
    call.ports = ports_of(call, options.Activations);
    jlstm.golden = golden_vectors(call, X, jlstm, options.Steps);
    jlstm.notes = note();
    % Too large a variable is no error to -v7: save warns and leaves it out.
    info = whos('jlstm');
    formats = {'-v7', '-v7.3'};
    save(file, 'jlstm', formats{1 + (info.bytes > 2 ^ 31 - 2 ^ 20)});
    fprintf('jlstm_export: %s: %d layers, %d golden sequences, %d notes\n', file, ...
        numel(jlstm.layers), numel(jlstm.golden), numel(jlstm.notes));
    cellfun(@(text) fprintf('  note: %s\n', text), jlstm.notes);
    if nargout > 0, exported = jlstm; end
end

function list = note(text)
    % Gathers what could not be exported: note({}) starts, note(text) adds, note() lists.
    persistent notes
    if nargin > 0 && iscell(text)
        notes = cell(0, 1);
    elseif nargin > 0
        notes{end + 1, 1} = strtrim(regexprep(text, '\s+', ' '));
    end
    list = notes;
end

function [X, file, options] = read_inputs(given)
    X = [];
    file = 'net_export.mat';
    options = struct('Steps', 25, 'Activations', true);
    if ~isempty(given) && ~is_text(given{1})
        X = given{1};
        given(1) = [];
    end
    if mod(numel(given), 2) == 1
        file = char(given{1});
        given(1) = [];
    end
    for k = 1:2:numel(given)
        if ~is_text(given{k}) || ~isfield(options, char(given{k}))
            error('jlstm:export:option', ['Unknown option.\nExpected: jlstm_export(' ...
                'net, X, file, ''Steps'', number, ''Activations'', true or false).']);
        end
        options.(char(given{k})) = given{k + 1};
    end
end

function call = as_callable(net)
    % The network, how to call it, and the same network with its state reset (fresh).
    call = struct('kind', 'trained', 'start', 'initial');
    if isa(net, 'dlnetwork')
        call.kind = 'dlnetwork';
        try
            net = dlupdate(@gather, net);
        catch problem
            note(['parameters stay on their device: ' problem.message]);
        end
    elseif iscell(net) || isa(net, 'nnet.cnn.layer.Layer') || isa(net, 'nnet.cnn.LayerGraph')
        try
            net = assembleNetwork(net);
        catch problem
            call.kind = 'layers';
            note(['no golden vectors, the layers are no network yet: ' problem.message]);
        end
    elseif ~isa(net, 'SeriesNetwork') && ~isa(net, 'DAGNetwork')
        error('jlstm:export:class', ['A %s cannot be exported.\nExpected: SeriesNetwork, ' ...
            'DAGNetwork, dlnetwork, layerGraph or an array of layers.'], class(net));
    end
    call.net = net;
    call.fresh = net;
    call.layers = layers_of(net);
    try
        call.fresh = resetState(net);
    catch problem
        % A net without recurrent layers refuses too, and has nothing to reset.
        recurrent = cellfun(@(layer) ~isempty(read(layer, 'HiddenState', [])), call.layers);
        if any(recurrent) && ~strcmp(call.kind, 'layers')
            call.start = 'current';
            note(['the state could not be reset: ' problem.message]);
        end
    end
end

function layers = layers_of(net)
    array = net;
    if ~iscell(net) && ~isa(net, 'nnet.cnn.layer.Layer'), array = net.Layers; end
    layers = cell(1, numel(array));
    for k = 1:numel(array)
        if iscell(array), layers{k} = array{k}; else, layers{k} = array(k); end
    end
end

function [exported, names] = export_layers(layers, fresh)
    exported = cell(1, numel(layers));
    names = cell(numel(layers), 1);
    for k = 1:numel(layers)
        names{k} = char(read(layers{k}, 'Name', ''));
        if isempty(names{k})
            names{k} = sprintf('layer_%d', k);
            note(sprintf('layer %d has no name, written as %s', k, names{k}));
        end
        entry = struct('class', class(layers{k}), 'name', names{k});
        entry.properties = struct();
        keys = properties(layers{k});
        for p = 1:numel(keys)
            place = [names{k} '.' keys{p}];
            try
                entry.properties.(keys{p}) = plain(layers{k}.(keys{p}), place);
            catch problem
                note([place ': not readable: ' problem.message]);
            end
        end
        for state = {'HiddenState', 'CellState'}
            value = plain(read(fresh{k}, state{1}, []), names{k});
            entry.initial_state.(state{1}) = value;
        end
        exported{k} = entry;
    end
end

function value = plain(value, place)
    % The same value without objects.
    if isa(value, 'dlarray'), value = extractdata(value); end
    if isa(value, 'gpuArray'), value = gather(value); end
    if is_text(value)
        value = char(value);
    elseif isa(value, 'string') || isa(value, 'categorical')
        value = cellstr(value);
    elseif isa(value, 'function_handle')
        value = struct('function_handle', func2str(value));
    elseif iscell(value)
        value = cellfun(@(item) plain(item, place), value, 'UniformOutput', false);
    elseif isstruct(value)
        keys = fieldnames(value);
        items = cellfun(@(item) plain(item, place), struct2cell(value), 'UniformOutput', false);
        value = cell2struct(items, keys, 1);
    elseif ~isnumeric(value) && ~islogical(value) && ~ischar(value)
        note([place ': not stored: ' class(value)]);
        value = struct('unsupported_class', class(value));
    end
end

function [list, precision] = parameter_list(parameters)
    layers = cellstr(parameters.Layer);
    names = cellstr(parameters.Parameter);
    list = cell(1, numel(layers));
    precision = 'single';
    for k = 1:numel(layers)
        value = plain(parameters.Value{k}, [layers{k} '.' names{k}]);
        list{k} = struct('layer', layers{k}, 'parameter', names{k}, 'value', value);
        if isa(value, 'double'), precision = 'double'; end
    end
end

function connections = connections_of(net, names)
    % A series net has no table of its own: each layer feeds the next.
    series = struct('Source', {names(1:end - 1)}, 'Destination', {names(2:end)});
    pairs = read(net, 'Connections', series);
    connections = struct('source', {cellstr(pairs.Source)}, ...
        'destination', {cellstr(pairs.Destination)});
end

function names = names_of(object, property, default)
    names = cellstr(read(object, property, default));
    names = names(:);
end

function ports = ports_of(call, wanted)
    % What can be asked for its activations: layers, or their outputs if they have several.
    ports = {};
    for k = 1:numel(call.layers) * logical(wanted)
        outputs = names_of(call.layers{k}, 'OutputNames', {'out'});
        if numel(outputs) > 1
            ports = [ports; strcat([call.names{k} '/'], outputs)];
        else
            ports = [ports; call.names(k)];
        end
    end
end

function golden = golden_vectors(call, X, jlstm, steps)
    golden = struct('input', {}, 'output', {}, 'layers', {}, 'mini_batch_size', {}, ...
        'start', {}, 'classes', {});
    if strcmp(call.kind, 'layers'), return, end
    owners = strtok(jlstm.input_names, '/');
    specs = cellfun(@(owner) input_spec(call.layers{strcmp(call.names, owner)}), owners, ...
        'UniformOutput', false);
    rows = sequences(X, specs, steps);
    for k = 1:size(rows, 1)
        place = sprintf('golden %d: ', k);
        list = call_inputs(call, specs, rows(k, :));
        golden(k).input = rows(k, :);
        golden(k).layers = activations_of(call, specs, list, place);
        golden(k).output = outputs_of(call, specs, list, jlstm.output_names, ...
            golden(k).layers, place);
        golden(k).mini_batch_size = 1;
        golden(k).start = call.start;
        golden(k).classes = classes_of(call.layers);
    end
end

function spec = input_spec(layer)
    % The sizes of an input's spatial and channel axes, and whether time follows them.
    spec = struct('layer', {layer}, 'sizes', read(layer, 'InputSize', []), 'time', true);
    if ~isnumeric(spec.sizes), spec.sizes = []; end
    spec.sizes = double(spec.sizes(:).');
    switch regexp(class(layer), '\w+$', 'match', 'once')
        case {'FeatureInputLayer', 'ImageInputLayer', 'Image3DInputLayer'}
            spec.time = false;
        case 'InputLayer'
            labels = char(layer.InputFormat);
            spec.time = any(labels == 'T');
            spec.sizes = spec.sizes(labels == 'S' | labels == 'C');
    end
    spec.spatial = max(numel(spec.sizes) - 1, 0);
end

function rows = sequences(X, specs, steps)
    % One row per sequence, one column per input.
    rows = X;
    if isempty(X)
        rows = cellfun(@(spec) deterministic_input(spec, steps), specs(:).', ...
            'UniformOutput', false);
    elseif ~iscell(X)
        rows = {X};
    elseif numel(specs) == 1
        rows = X(:);
    end
    if size(rows, 2) ~= numel(specs)
        error('jlstm:export:input', ['X does not fit the network.\nExpected: a cell array ' ...
            'with a row per sequence and %d columns, one per input.'], numel(specs));
    end
    if numel(specs) == 1 && ~specs{1}.time && specs{1}.spatial == 0
        columns = cellfun(@(x) num2cell(x, 1).', rows, 'UniformOutput', false);
        rows = vertcat(columns{:});
    end
end

function x = deterministic_input(spec, steps)
    if isempty(spec.sizes) || any(isnan(spec.sizes))
        error('jlstm:export:input', 'The width of the input is unknown.\nDo: give X.');
    end
    extent = spec.sizes;
    if spec.time || spec.spatial == 0, extent(end + 1) = steps; end
    low = statistic(spec, 'Min', -1);
    high = statistic(spec, 'Max', 1);
    centre = statistic(spec, 'Mean', (high + low) / 2);
    spread = 1.5 * statistic(spec, 'StandardDeviation', (high - low) / 3);
    x = centre + spread .* reshape(sin((1:prod(extent)) .^ 2), extent);
end

function value = statistic(spec, name, default)
    value = double(plain(read(spec.layer, name, []), name));
    if numel(value) == prod(spec.sizes)
        value = reshape(value, [spec.sizes, 1]);
    elseif numel(value) ~= 1
        value = default;
    end
end

function list = call_inputs(call, specs, inputs)
    % The inputs as predict and activations want them.
    list = inputs;
    for i = 1:numel(inputs)
        spec = specs{i};
        if strcmp(call.kind, 'dlnetwork')
            extent = [size(inputs{i}), 1, 1, 1];
            shape = [extent(1:spec.spatial + 1), 1, extent(spec.spatial + 2)];
            labels = [repmat('S', 1, spec.spatial), 'CBT'];
            keep = 1:numel(labels) - ~spec.time;
            x = reshape(cast(inputs{i}, call.precision), [shape(keep), 1]);
            list{i} = dlarray(x, labels(keep));
        elseif spec.time
            list{i} = inputs(i);
        elseif spec.spatial == 0
            list{i} = inputs{i}.';
        end
    end
end

function activity = activations_of(call, specs, list, place)
    activity = struct('name', {cell(0, 1)}, 'value', {cell(0, 1)});
    for k = 1:numel(call.ports)
        try
            if strcmp(call.kind, 'dlnetwork')
                value = predict(call.fresh, list{:}, 'Outputs', call.ports{k});
            else
                value = activations(call.fresh, list{:}, call.ports{k}, ...
                    'MiniBatchSize', 1, 'ExecutionEnvironment', 'cpu');
            end
            activity.value{end + 1, 1} = without_batch(value, specs);
            activity.name{end + 1, 1} = call.ports{k};
        catch problem
            note([place 'no activations of ' call.ports{k} ': ' problem.message]);
        end
    end
end

function outputs = outputs_of(call, specs, list, names, activity, place)
    outputs = cell(1, numel(names));
    if ~strcmp(call.kind, 'dlnetwork')
        list = [list, {'MiniBatchSize', 1, 'ExecutionEnvironment', 'cpu'}];
    end
    try
        [outputs{:}] = predict(call.fresh, list{:});
    catch problem
        outputs = {};
        note([place 'NO OUTPUT, predict failed: ' problem.message]);
    end
    for j = 1:numel(outputs)
        row = isnumeric(outputs{j}) && size(outputs{j}, 1) == 1;
        outputs{j} = without_batch(outputs{j}, specs);
        % Sequences come in a cell; a numeric row is N x R with N = 1, unless the layer
        % itself says that one feature runs over time.
        known = find(strcmp(activity.name, names{j}), 1);
        if ~isempty(known)
            row = row && ~isequal(size(outputs{j}), size(activity.value{known}));
        end
        if row && strcmp(call.kind, 'trained'), outputs{j} = outputs{j}(:); end
    end
end

function value = without_batch(value, specs)
    if iscell(value), value = value{1}; end
    labels = '';
    if isa(value, 'dlarray'), labels = dims(value); end
    value = plain(value, 'golden');
    extent = [size(value), ones(1, numel(labels))];
    if ~isempty(labels)
        extent = extent(1:numel(labels));
        value = reshape(value, [extent(labels ~= 'B'), 1, 1]);
    elseif ndims(value) == 3 && all(cellfun(@(spec) spec.spatial == 0, specs))
        % Vectors over time with the batch between them, C x 1 x T.
        value = reshape(value, [extent(1), prod(extent(2:3))]);
    end
end

function classes = classes_of(layers)
    classes = {};
    for k = 1:numel(layers)
        value = plain(read(layers{k}, 'Classes', read(layers{k}, 'ClassNames', {})), 'Classes');
        if iscellstr(value) && ~isempty(value), classes = value(:); end
    end
end

function value = read(object, name, default)
    try
        value = object.(name);
    catch
        value = default;
    end
end

function yes = is_text(value)
    yes = ischar(value) || (isa(value, 'string') && numel(value) == 1);
end
