function value = plain_number(value)
    % The number inside dlarray and gpuArray stand-ins.
    if isa(value, 'dlarray'), value = extractdata(value); end
    if isa(value, 'gpuArray'), value = gather(value); end
end
