function layers = build_layers(specs)
    % Stand-in layers from structs with the fields class and properties.
    layers = cell(1, numel(specs));
    for k = 1:numel(specs)
        layers{k} = eval(specs{k}.class);
        keys = fieldnames(specs{k}.properties);
        for p = 1:numel(keys)
            layers{k}.(keys{p}) = specs{k}.properties.(keys{p});
        end
    end
end
