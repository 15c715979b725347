function A = trained_activation(result, style)
    % What activations returns: C x N, or a sequence in a cell, or C x 1 x T ('array').
    A = single(result.value);
    if strcmp(style, 'array') && result.time
        A = reshape(A, size(A, 1), 1, size(A, 2));
    elseif result.time
        A = {A};
    end
end
