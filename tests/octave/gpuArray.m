classdef gpuArray
    % Stand-in for an array on a GPU.
    properties (Access = private)
        data
    end
    methods
        function a = gpuArray(data)
            a.data = data;
        end
        function data = gather(a)
            data = a.data;
        end
    end
end
