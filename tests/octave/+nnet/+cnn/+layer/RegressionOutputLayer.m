classdef RegressionOutputLayer < nnet.cnn.layer.Layer
    % Stand-in: passes the responses on.
    properties
        ResponseNames = {};
    end
end
