classdef FeatureInputLayer < nnet.cnn.layer.Layer
    % Stand-in without normalisation.
    properties
        InputSize = [];
        Normalization = 'none';
    end
end
