classdef categorical
    % Stand-in for the categorical class.
    properties (Access = private)
        text
    end
    methods
        function s = categorical(text)
            s.text = text;
        end
        function c = cellstr(s)
            c = s.text;
        end
    end
end
