1;
% What the stand-in layers compute: the equations of the reference pages.

function outputs = forward(layer, inputs)
    x = inputs{1};
    v = x.value;
    switch layer.call
        case {'sequenceInputLayer', 'featureInputLayer', 'imageInputLayer'}
            x.value = normalised(layer, x);
        case {'lstmLayer', 'gruLayer', 'lstmProjectedLayer', 'gruProjectedLayer'}
            outputs = one_way(layer, inputs);
            return
        case 'bilstmLayer'
            outputs = {both_ways(layer, x)};
            return
        case 'fullyConnectedLayer'
            flat = reshape(v, [], size(v, 4));
            x = vectors(double(layer.Weights) * flat + double(layer.Bias), x.time);
        case 'flattenLayer'
            x = vectors(reshape(v, [], size(v, 4)), x.time);
        case 'reluLayer', x.value = max(v, 0);
        case 'tanhLayer', x.value = tanh(v);
        case 'sigmoidLayer', x.value = 1 ./ (1 + exp(-v));
        case 'swishLayer', x.value = v ./ (1 + exp(-v));
        case 'softplusLayer', x.value = log1p(exp(-abs(v))) + max(v, 0);
        case 'leakyReluLayer', x.value = max(v, 0) + layer.constant * min(v, 0);
        case 'clippedReluLayer', x.value = min(max(v, 0), layer.constant);
        case 'eluLayer', x.value = max(v, 0) + layer.constant * expm1(min(v, 0));
        case 'preluLayer', x.value = max(v, 0) + on_grid(layer.Alpha, x.space) .* min(v, 0);
        case 'functionLayer', x.value = layer.fun(v);
        case 'geluLayer'
            if strcmp(layer.Approximation, 'tanh')
                x.value = v / 2 .* (1 + tanh(sqrt(2 / pi) * (v + 0.044715 * v .^ 3)));
            else
                x.value = v / 2 .* (1 + erf(v / sqrt(2)));
            end
        case 'softmaxLayer'
            e = exp(v - max(v, [], 3));
            x.value = e ./ sum(e, 3);
        case {'dropoutLayer', 'identityLayer', 'regressionLayer', 'classificationLayer'}
        case 'scalingLayer'
            x.value = on_grid(layer.Scale, x.space) .* v + on_grid(layer.Bias, x.space);
        case 'batchNormalizationLayer'
            centred = v - on_grid(layer.TrainedMean, x.space);
            spread = sqrt(on_grid(layer.TrainedVariance, x.space) + layer.Epsilon);
            x.value = affine(layer, centred ./ spread, x.space);
        case {'layerNormalizationLayer', 'groupNormalizationLayer', 'instanceNormalizationLayer'}
            x.value = affine(layer, own_statistics(layer, v, x.space), x.space);
        case {'convolution1dLayer', 'convolution2dLayer', 'groupedConvolution2dLayer'}
            x.value = over_signal(x, @(s) convolve(layer, s), numel(layer.size));
        case {'maxPooling1dLayer', 'averagePooling1dLayer', 'maxPooling2dLayer', 'averagePooling2dLayer'}
            x.value = over_signal(x, @(s) pool(layer, s), 1 + any(layer.call == '2'));
        case {'globalMaxPooling1dLayer', 'globalAveragePooling1dLayer', ...
                'globalMaxPooling2dLayer', 'globalAveragePooling2dLayer'}
            x = global_pool(layer, x);
        case 'indexing1dLayer'
            x = indexed(layer, x);
        case 'additionLayer'
            x = combined(inputs, @plus);
        case 'multiplicationLayer'
            x = combined(inputs, @times);
        case {'concatenationLayer', 'depthConcatenationLayer'}
            x = concatenated(layer, inputs);
        case 'wordEmbeddingLayer'
            x = vectors(embedded(layer, v(:).'), x.time);
        case 'positionEmbeddingLayer'
            x = vectors(double(layer.Weights(:, 1:size(v, 4))), true);
        case 'selfAttentionLayer'
            x = attended_self(layer, x);
        case 'attentionLayer'
            m = cellfun(@(s) reshape(s.value, size(s.value, 3), []), inputs, 'UniformOutput', false);
            x = vectors(attended(layer, m{:}, layer.Scale), true);
        otherwise
            error('the stand-in cannot compute %s', layer.call);
    end
    outputs = {x};
end

function x = vectors(matrix, time)
    x = struct('value', reshape(matrix, 1, 1, size(matrix, 1), size(matrix, 2)), ...
        'space', 0, 'time', time);
end

function a = on_grid(a, space)
    % A parameter as height x width x channels.
    a = double(a);
    if isscalar(a), return, end
    if space == 0
        a = reshape(a, 1, 1, []);
    elseif space == 1
        a = reshape(a, size(a, 1), 1, []);
    end
end

function v = normalised(layer, x)
    v = x.value;
    s = @(name) on_grid(layer.(name), x.space);
    switch layer.Normalization
        case 'none'
        case 'zerocenter', v = v - s('Mean');
        case 'zscore', v = (v - s('Mean')) ./ s('StandardDeviation');
        case 'rescale-zero-one', v = (v - s('Min')) ./ (s('Max') - s('Min'));
        case 'rescale-symmetric', v = 2 * (v - s('Min')) ./ (s('Max') - s('Min')) - 1;
        otherwise, error('normalisation %s', layer.Normalization);
    end
end

% --- recurrent layers -----------------------------------------------------------------

function [state, gate] = squashes(layer)
    functions = struct('tanh', @tanh, 'softsign', @(z) z ./ (1 + abs(z)), 'relu', @(z) max(z, 0));
    state = functions.(layer.StateActivationFunction);
    gate = @(z) 1 ./ (1 + exp(-z));
    if strcmp(layer.GateActivationFunction, 'hard-sigmoid')
        gate = @(z) min(max(0.2 * z + 0.5, 0), 1);
    end
end

function outputs = one_way(layer, inputs)
    x = inputs{1};
    m = reshape(x.value, size(x.value, 3), []);
    h = double(layer.HiddenState);
    c = [];
    if isfield(layer, 'CellState'), c = double(layer.CellState); end
    if numel(inputs) > 1, h = inputs{2}.value(:); end
    if numel(inputs) > 2, c = inputs{3}.value(:); end
    W = double(layer.InputWeights);
    R = double(layer.RecurrentWeights);
    if isfield(layer, 'Projected')
        W = W * double(layer.InputProjector).';
        R = R * double(layer.OutputProjector).';
    end
    if isempty(c)
        [y, h] = gru(layer, m, W, R, double(layer.Bias), h);
    else
        [y, h, c] = lstm(layer, m, W, R, double(layer.Bias), h, c);
    end
    sequence = strcmp(layer.OutputMode, 'sequence');
    if ~sequence, y = h; end
    outputs = {vectors(y, x.time && sequence), vectors(h, false), vectors(c, false)};
end

function [y, h, c] = lstm(layer, m, W, R, b, h, c)
    [state, gate] = squashes(layer);
    n = numel(h);
    y = zeros(n, size(m, 2));
    for t = 1:size(m, 2)
        z = reshape(W * m(:, t) + R * h + b, n, 4);
        c = gate(z(:, 2)) .* c + gate(z(:, 1)) .* state(z(:, 3));
        h = gate(z(:, 4)) .* state(c);
        y(:, t) = h;
    end
end

function [y, h] = gru(layer, m, W, R, b, h)
    [state, gate] = squashes(layer);
    n = numel(h);
    rows = @(k) (k - 1) * n + (1:n);
    y = zeros(n, size(m, 2));
    rb = zeros(3 * n, 1);
    if numel(b) == 6 * n, rb = b(3 * n + 1:end); end
    for t = 1:size(m, 2)
        z = W * m(:, t) + b(1:3 * n);
        r = gate(z(rows(1)) + R(rows(1), :) * h + rb(rows(1)));
        u = gate(z(rows(2)) + R(rows(2), :) * h + rb(rows(2)));
        if strcmp(layer.ResetGateMode, 'before-multiplication')
            candidate = state(z(rows(3)) + R(rows(3), :) * (r .* h));
        else
            candidate = state(z(rows(3)) + r .* (R(rows(3), :) * h + rb(rows(3))));
        end
        h = (1 - u) .* candidate + u .* h;
        y(:, t) = h;
    end
end

function x = both_ways(layer, x)
    m = reshape(x.value, size(x.value, 3), []);
    n = layer.units;
    half = {1:n, n + 1:2 * n};
    rows = {1:4 * n, 4 * n + 1:8 * n};
    y = cell(2, 1);
    for d = 1:2
        s = m;
        if d == 2, s = fliplr(m); end
        [y{d}, last] = lstm(layer, s, double(layer.InputWeights(rows{d}, :)), ...
            double(layer.RecurrentWeights(rows{d}, :)), double(layer.Bias(rows{d})), ...
            double(layer.HiddenState(half{d})), double(layer.CellState(half{d})));
        if d == 2, y{d} = fliplr(y{d}); end
        if strcmp(layer.OutputMode, 'last'), y{d} = last; end
    end
    x = vectors([y{1}; y{2}], x.time && strcmp(layer.OutputMode, 'sequence'));
end

% --- normalisation --------------------------------------------------------------------

function v = affine(layer, v, space)
    v = on_grid(layer.Scale, space) .* v + on_grid(layer.Offset, space);
end

function v = own_statistics(layer, v, space)
    extent = [size(v), 1, 1];
    groups = extent(3);
    switch layer.call
        case 'groupNormalizationLayer'
            groups = layer.groups;
        case 'layerNormalizationLayer'
            axes = struct('channel_only', 3, 'spatial_channel', [1 2 3], 'batch_excluded', 1:4);
            over = axes.(strrep(layer.OperationDimension, '-', '_'));
            v = standardised(v, over, layer.Epsilon);
            return
    end
    grouped = reshape(v, extent(1), extent(2), extent(3) / groups, groups, extent(4));
    v = reshape(standardised(grouped, [1 2 3 5], layer.Epsilon), extent(1:4));
end

function v = standardised(v, over, epsilon)
    mean_over = v;
    for k = over, mean_over = mean(mean_over, k); end
    v = v - mean_over;
    variance = v .^ 2;
    for k = over, variance = mean(variance, k); end
    v = v ./ sqrt(variance + epsilon);
end

% --- windows --------------------------------------------------------------------------

function v = over_signal(x, fun, axes)
    % Along time where there is no space, else over space at every time step.
    v = x.value;
    if x.space == 0
        m = permute(v, [4 2 3 1]);
        v = permute(fun(m), [4 2 3 1]);
        return
    end
    if x.space ~= axes, error('a window over %d axes of %d', axes, x.space); end
    v = fun(v);
end

function [before, after] = widths(layer, axis, length_, size_, stride, dilation)
    extent = (size_ - 1) * dilation + 1;
    if ischar(layer.Padding)
        if strcmp(layer.Padding, 'causal')
            before = extent - 1;
            after = 0;
            return
        end
        total = max((ceil(length_ / stride) - 1) * stride + extent - length_, 0);
        before = floor(total / 2);
        after = total - before;
    else
        sides = layer.Padding;
        if isscalar(sides), sides = repmat(sides, 1, 4); end
        before = sides(2 * axis - 1);
        after = sides(2 * axis);
    end
end

function [v, counts, starts, stride, dilation, size_] = windows_of(layer, v, value)
    size_ = [layer.size(:).', 1](1:2);
    stride = layer.Stride;
    dilation = 1;
    if isfield(layer, 'DilationFactor'), dilation = layer.DilationFactor; end
    if isscalar(stride), stride = [stride stride]; end
    if isscalar(dilation), dilation = [dilation dilation]; end
    one_axis = numel(layer.size) == 1 && any(layer.call == '1');
    if one_axis
        size_(2) = 1;
        stride(2) = 1;
        dilation(2) = 1;
    elseif numel(layer.size) == 1
        size_(2) = layer.size;
    end
    starts = [0 0];
    for axis = 1:2 - one_axis
        [before, after] = widths(layer, axis, size(v, axis), size_(axis), stride(axis), dilation(axis));
        v = padded(v, axis, before, after, value);
        starts(axis) = before;
    end
    extent = (size_ - 1) .* dilation + 1;
    counts = floor(([size(v, 1), size(v, 2)] - extent) ./ stride) + 1;
end

function v = padded(v, axis, before, after, value)
    n = size(v, axis);
    if ischar(value)
        switch value
            case 'symmetric-include-edge'
                at = [fliplr(1:before), 1:n, n - (0:after - 1)];
            case 'symmetric-exclude-edge'
                at = [fliplr(1 + (1:before)), 1:n, n - (1:after)];
            case 'replicate'
                at = [ones(1, before), 1:n, repmat(n, 1, after)];
        end
        if axis == 1, v = v(at, :, :, :); else, v = v(:, at, :, :); end
        return
    end
    extent = [size(v), 1, 1];
    extent = extent(1:4);
    extent(axis) = before;
    head = repmat(value, extent);
    extent(axis) = after;
    v = cat(axis, head, v, repmat(value, extent));
end

function y = convolve(layer, v)
    [v, counts, ~, stride, dilation, size_] = windows_of(layer, v, layer.PaddingValue);
    w = double(layer.Weights);
    groups = 1;
    if numel(layer.filters) == 2, groups = layer.filters(2); end
    filters = layer.filters(1);
    channels = size(v, 3) / groups;
    w = reshape(w, [size_, channels, filters, groups]);
    b = double(layer.Bias(:));
    y = zeros([counts, filters * groups, size(v, 4)]);
    for g = 1:groups
        for o = 1:filters
            total = b((g - 1) * filters + o);
            for c = 1:channels
                for i = 1:size_(1)
                    for j = 1:size_(2)
                        rows = (i - 1) * dilation(1) + 1 + (0:counts(1) - 1) * stride(1);
                        columns = (j - 1) * dilation(2) + 1 + (0:counts(2) - 1) * stride(2);
                        total = total + w(i, j, c, o, g) * v(rows, columns, (g - 1) * channels + c, :);
                    end
                end
            end
            y(:, :, (g - 1) * filters + o, :) = total;
        end
    end
end

function y = pool(layer, v)
    largest = strncmp(layer.call, 'max', 3);
    excluded = ~largest && ischar(layer.PaddingValue);
    value = 0;
    if largest, value = -Inf; elseif excluded, value = NaN; end
    [v, counts, ~, stride, ~, size_] = windows_of(layer, v, value);
    y = zeros([counts, size(v, 3), size(v, 4)]);
    for i = 1:counts(1)
        for j = 1:counts(2)
            block = v((i - 1) * stride(1) + (1:size_(1)), (j - 1) * stride(2) + (1:size_(2)), :, :);
            block = reshape(block, [], 1, size(v, 3), size(v, 4));
            if largest
                y(i, j, :, :) = max(block, [], 1);
            elseif excluded
                inside = ~isnan(block);
                block(~inside) = 0;
                y(i, j, :, :) = sum(block, 1) ./ sum(inside, 1);
            else
                y(i, j, :, :) = mean(block, 1);
            end
        end
    end
end

function x = global_pool(layer, x)
    reduce = @(v, k) mean(v, k);
    if any(strfind(layer.call, 'Max')), reduce = @(v, k) max(v, [], k); end
    if any(layer.call == '2')
        x.value = reduce(reduce(x.value, 1), 2);
    elseif x.space == 1
        x.value = reduce(x.value, 1);
    else
        x.value = reduce(x.value, 4);
        x.time = false;
    end
end

function x = indexed(layer, x)
    if x.space == 1
        at = 1;
        if strcmp(layer.index, 'last'), at = size(x.value, 1); end
        x.value = x.value(at, :, :, :);
        x.space = 0;
        return
    end
    at = 1;
    if strcmp(layer.index, 'last'), at = size(x.value, 4); end
    x.value = x.value(:, :, :, at);
    x.time = false;
end

% --- several inputs -------------------------------------------------------------------

function x = combined(inputs, operation)
    x = inputs{1};
    for k = 2:numel(inputs)
        x.value = operation(x.value, inputs{k}.value);
        x.space = max(x.space, inputs{k}.space);
        x.time = x.time || inputs{k}.time;
    end
end

function x = concatenated(layer, inputs)
    x = inputs{1};
    axis = 3;
    if strcmp(layer.call, 'concatenationLayer')
        if layer.dim > x.space + 1, error('no dimension %d', layer.dim); end
        if layer.dim <= x.space, axis = layer.dim; end
    end
    values = cellfun(@(s) s.value, inputs, 'UniformOutput', false);
    x.value = cat(axis, values{:});
end

function m = embedded(layer, index)
    last = size(layer.Weights, 2);
    known = index >= 1 & index <= last & index == floor(index);
    if strcmp(layer.OOVMode, 'error') && ~all(known), error('a word that is not known'); end
    index(~known) = last;
    m = double(layer.Weights(:, index));
end

function x = attended_self(layer, x)
    v = x.value;
    m = reshape(permute(v, [3 1 4 2]), size(v, 3), []);
    q = double(layer.QueryWeights) * m + double(layer.QueryBias);
    k = double(layer.KeyWeights) * m + double(layer.KeyBias);
    w = double(layer.ValueWeights) * m + double(layer.ValueBias);
    y = attended(layer, q, k, w, 'auto');
    y = double(layer.OutputWeights) * y + double(layer.OutputBias);
    if x.space == 1
        x.value = permute(y, [2 3 1]);
    else
        x = vectors(y, x.time);
    end
end

function y = attended(layer, q, k, w, scale)
    heads = layer.heads;
    y = [];
    for h = 1:heads
        part = @(m) m((h - 1) * size(m, 1) / heads + (1:size(m, 1) / heads), :);
        factor = scale;
        if ischar(scale), factor = 1 / sqrt(size(k, 1) / heads); end
        scores = factor * part(k).' * part(q);
        if strcmp(layer.AttentionMask, 'causal')
            [row, column] = ndgrid(1:size(scores, 1), 1:size(scores, 2));
            scores(row > column) = -Inf;
        end
        e = exp(scores - max(scores, [], 1));
        y = [y; part(w) * (e ./ sum(e, 1))];
    end
end
