function Y = trained_output(result, style)
    % What predict returns: rows N x R, or a sequence in a cell ('cell') or as it is.
    Y = single(result.value);
    if ~result.time
        Y = Y.';
    elseif strcmp(style, 'cell')
        Y = {Y};
    end
end
