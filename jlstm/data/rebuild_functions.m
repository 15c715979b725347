function worst = prove(net, kind, jlstm, wired, precision, tolerance)
    % Recorded inputs through the rebuilt network: the answers must be the recorded ones.
    worst = 0;
    count = 0;
    for k = 1:numel(jlstm.golden)
        record = jlstm.golden(k);
        if ~strcmp(record.start, 'initial'), continue, end
        X = cell(1, numel(wired.inputs));
        for i = 1:numel(X)
            x = cast(record.input{i}, precision);
            X{i} = as_input(x, kind, wired.axes{i});
        end
        Y = answers(net, kind, X, wired);
        for j = 1:numel(Y)
            wanted = double(record.output{j}(:));
            if numel(Y{j}) ~= numel(wanted)
                error('jlstm:rebuild:proof', ['Golden %d: output %s has %d values, ' ...
                    '%d were recorded.'], k, wired.outputs{j}, numel(Y{j}), numel(wanted));
            end
            off = abs(Y{j} - wanted) / max([abs(wanted); realmin]);
            if ~all(off <= tolerance)
                error('jlstm:rebuild:proof', ['Golden %d: output %s differs by %.2g of ' ...
                    'its largest value; at most %.2g is rounding. This is not the ' ...
                    'network that was saved.'], k, wired.outputs{j}, max(off), tolerance);
            end
            worst = max([worst; off]);
        end
        count = count + 1;
    end
    if count == 0
        error('jlstm:rebuild:proof', 'No golden vectors from the initial state.');
    end
    fprintf(['Proven: %d recorded inputs give the recorded outputs, off by at most ' ...
        '%.2g of the largest value (%.2g accepted).\n'], count, worst, tolerance);
end

function X = as_input(x, kind, letters)
    % One observation as predict wants it.
    if strcmp(kind, 'dlnetwork')
        % The batch comes before the time: C x T becomes C x 1 x T.
        extent = [size(x), 1, 1, 1];
        n = sum(letters == 'S') + 1;
        X = dlarray(reshape(x, [extent(1:n), 1, extent(n + 1)]), letters);
    elseif any(letters == 'T')
        X = {x};
    elseif any(letters == 'S')
        X = x;
    else
        X = x.';
    end
end

function Y = answers(net, kind, X, wired)
    % The outputs, each as one column; inputs and outputs by name where there are several.
    Y = cell(1, numel(wired.outputs));
    if numel(X) > 1
        [~, order] = ismember(cellstr(net.InputNames), wired.inputs);
        X = X(order);
    end
    if strcmp(kind, 'dlnetwork')
        [Y{:}] = predict(net, X{:}, 'Outputs', wired.outputs);
        Y = cellfun(@extractdata, Y, 'UniformOutput', false);
    else
        [Y{:}] = predict(net, X{:}, 'MiniBatchSize', 1, 'ExecutionEnvironment', 'cpu');
        if numel(Y) > 1
            [~, order] = ismember(wired.outputs, cellstr(net.OutputNames));
            Y = Y(order);
        end
    end
    for j = 1:numel(Y)
        if iscell(Y{j}), Y{j} = Y{j}{1}; end
        Y{j} = double(Y{j}(:));
    end
end

function net = in_double(net, jlstm)
    % The very numbers of the file, whatever precision the constructors chose.
    names = cellfun(@(entry) entry.name, jlstm.layers, 'UniformOutput', false);
    for table = {'Learnables', 'State'}
        rows = net.(table{1});
        owners = cellstr(rows.Layer);
        words = cellstr(rows.Parameter);
        for k = 1:numel(owners)
            entry = jlstm.layers{strcmp(names, owners{k})};
            held = entry.properties;
            if any(strcmp(words{k}, {'HiddenState', 'CellState'}))
                held = entry.initial_state;
            end
            rows.Value{k} = dlarray(held.(words{k}));
        end
        net.(table{1}) = rows;
    end
end

function word = offset_word()
    % scalingLayer calls its offset Bias before R2025a.
    word = 'Bias';
    if exist('isMATLABReleaseOlderThan', 'file') && ~isMATLABReleaseOlderThan('R2025a')
        word = 'Offset';
    end
end
