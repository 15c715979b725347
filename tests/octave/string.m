classdef string
    % Stand-in for the string class: an array of text.
    properties (Access = private)
        text
    end
    methods
        function s = string(text)
            s.text = text;
        end
        function c = char(s)
            c = char(s.text);
        end
        function c = cellstr(s)
            c = cellstr(s.text);
        end
        function n = numel(s, varargin)
            n = 1;
            if iscell(s.text)
                n = builtin('numel', s.text);
            end
        end
    end
end
