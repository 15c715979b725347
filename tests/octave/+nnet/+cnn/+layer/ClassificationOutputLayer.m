classdef ClassificationOutputLayer < nnet.cnn.layer.Layer
    % Stand-in: passes the scores on and knows the classes.
    properties
        Classes = 'auto';
        LossFunction = 'crossentropyex';
    end
end
