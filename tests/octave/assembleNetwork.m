function net = assembleNetwork(layers)
    % Stand-in: refuses layers without weights, as the real one does.
    for k = 1:numel(layers)
        if isa(layers{k}, 'nnet.cnn.layer.LSTMLayer') && isempty(layers{k}.InputWeights)
            error('assembleNetwork: layer %d has no weights', k);
        end
    end
    net = SeriesNetwork();
    net.Layers = layers;
end
