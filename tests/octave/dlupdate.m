function net = dlupdate(fun, net)
    % Stand-in: applies fun to the learnable parameters.
    for k = 1:numel(net.Learnables.Value)
        value = net.Learnables.Value{k};
        if isa(extractdata(value), 'gpuArray')
            net.Learnables.Value{k} = dlarray(fun(extractdata(value)));
        end
    end
end
