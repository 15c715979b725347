classdef dlarray
    % Stand-in for an array with labelled axes.
    properties (Access = private)
        data
        labels
    end
    methods
        function a = dlarray(data, labels)
            a.data = data;
            a.labels = '';
            if nargin > 1
                if numel(labels) < ndims(data) && ~(numel(labels) == 1 && iscolumn(data))
                    error('dlarray: fewer labels than dimensions');
                end
                a.labels = labels;
            end
        end
        function data = extractdata(a)
            data = a.data;
        end
        function labels = dims(a)
            labels = a.labels;
        end
    end
end
