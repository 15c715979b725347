function run_rebuilds(here, folder)
    % Runs every rebuild_*.m in a folder, as every kind of network that it offers; saves
    % what they say, and every MAT file as Octave loads it.
    source(fullfile(here, 'toolbox.m'));
    source(fullfile(here, 'equations.m'));
    addpath(folder);
    found = dir(fullfile(folder, 'rebuild_*.m'));
    report = struct('name', {}, 'kind', {}, 'said', {}, 'failed', {});
    kinds = {'', 'dlnetwork', 'trained'};
    for k = 1:numel(found)
        name = found(k).name(1:end - 2);
        for j = 1:numel(kinds)
            given = {'[]', ['''' kinds{j} '''']};
            failed = '';
            said = '';
            try
                said = evalc(['net = ' name '(' strjoin(given(1:2 * (j > 1)), ', ') ');']);
            catch problem
                failed = [problem.identifier ': ' problem.message];
            end
            report(end + 1) = struct('name', name, 'kind', kinds{j}, 'said', said, ...
                'failed', failed);
        end
    end
    save('-v6', fullfile(folder, 'report.out'), 'report');
    files = dir(fullfile(folder, '*.mat'));
    for k = 1:numel(files)
        loaded = load(fullfile(folder, files(k).name));
        jlstm = loaded.jlstm;
        save('-v6', fullfile(folder, [files(k).name '.out']), 'jlstm');
    end
end
