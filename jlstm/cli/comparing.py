"""Commands that compare a network with recorded numbers."""

from __future__ import annotations

import textwrap
from typing import Literal

from ..errors import InputError
from .options import (
    DISAGREES,
    Engine,
    File,
    Flag,
    Layout,
    Name,
    Needed,
    Number,
    Pairs,
    Precision,
    Source,
    Start,
    Target,
    Toml,
    load,
    print_json,
)  # fmt: skip


def validate(
    file: File,
    /,
    *,
    input: Source = None,
    expected: Source = None,
    scale: Source = None,
    offset: Source = None,
    variable: Name = None,
    layers: Toml = None,
    layout: Layout = "auto",
    state: Start = "initial",
    precision: Precision = "auto",
    tolerance: Number = None,
    engine: Engine = "auto",
    plot: Target = None,
    json: Flag = False,
) -> int:
    """Compare a network with recorded predictions: exit code 0 if they agree, else 1.

    Example: jlstm validate net.mat --input X --expected YPred

    Without --input and --expected, the golden vectors in the file itself are used:
    files of jlstm_export.m have them, and native files made from those. Class labels
    can be compared too, but they are weak proof: wrong networks keep most labels.

    Args:
        file: the network.
        input: what went in: a sequence, or a cell array of sequences.
        expected: what the original returned for it: scores, or class labels.
        scale: a factor that the recorded numbers contain, a number or a variable
            where outputs were standardised: expected = prediction * scale + offset.
        offset: likewise, a number or a variable.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        layout: orientation of both arrays, where both would fit the network.
        state: start from the initial state, or from the one the network was saved in.
        precision: arithmetic to compute in; auto is that of the network.
        tolerance: largest absolute difference to accept; by default it follows from the
            precision and the length of the sequence.
        engine: whose numbers are judged, see jlstm inspect --engines; auto is the one
            that predict takes.
        plot: write a picture of both outputs and their difference (needs jlstm[plot]).
        json: print JSON for scripts.
    """
    from .. import arguments as given
    from .. import formats
    from ..validation import self_test
    from ..validation import validate as compare

    if (input is None) != (expected is None):
        raise InputError(
            "one of --input and --expected is missing",
            do="give both, or neither for a file with golden vectors",
        )
    if input is not None and expected is not None:
        net = load(file, variable, layers)
        xs = given.inputs(net, input, file, layout)
        ys = given.expected(net, xs, expected, file, layout, scale, offset)
        begin = net.saved if state == "saved" else None
        many = len(xs) > 1
        result = compare(
            net,
            xs if many else xs[0],
            ys if many else ys[0],
            state=begin,
            precision=None if precision == "auto" else precision,
            tolerance=tolerance,
            engine=engine,
        )
        verdicts = [result]
    else:
        net, golden = formats.read(file, variable=variable, layers=layers)
        if not golden:
            raise InputError(
                "the file carries no golden vectors",
                file=file,
                expected="--input and --expected, or a file made by jlstm_export.m",
            )
        verdicts = [self_test(net, record, engine=engine) for record in golden]
    if plot is not None:
        from ..plots import comparison

        first = verdicts[0]
        if not first.predicted:
            raise InputError("labels cannot be drawn", do="leave --plot out")
        comparison(
            plot,
            first.predicted[0],
            first.recorded[0],
            tolerance=first.tolerance,
            title=f"{file.name}: {first.verdict}",
        )
    if json:
        found = [verdict.to_dict() for verdict in verdicts]
        print_json(found[0] if len(found) == 1 else found)
    else:
        print("\n\n".join(str(verdict) for verdict in verdicts))
        if hint := given.scaling(verdicts[0]):
            print(hint)
    return 0 if all(verdict.ok for verdict in verdicts) else DISAGREES


def diagnose(
    file: File,
    /,
    *,
    input: Needed,
    observed: Needed,
    layer_output: Pairs = (),
    variable: Name = None,
    layers: Toml = None,
    layout: Layout = "auto",
    max_mistakes: Literal[1, 2] = 2,
    plot: Target = None,
    json: Flag = False,
) -> int:
    """Say why numbers differ from a network: which mistake on it produces them.

    Example: jlstm diagnose net.mat --input X --observed Y_formula

    The observed numbers may come from a hand-written formula, from a converter, from
    another framework. Every mistake of a catalogue is made in turn, then every two of
    them together, until one gives the same numbers. Outputs of layers narrow it down:
    --layer-output lstm_1=H1 lstm_2=H2. Exit code 0 if the numbers agree with the
    network after all, else 1.

    Args:
        file: the network.
        input: what went in: a sequence, or a cell array of sequences.
        observed: the numbers that disagree: scores, not labels.
        layer_output: observed outputs of layers, LAYER=SOURCE, as many as there are.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        layout: orientation of the arrays, where both would fit the network.
        max_mistakes: 2 also looks for two mistakes at once, which takes longer.
        plot: write a picture of the network's output and of the observed numbers
            (needs jlstm[plot]).
        json: print JSON for scripts.
    """
    from .. import arguments as given
    from ..diagnosis import diagnose as search

    net = load(file, variable, layers)
    xs = given.inputs(net, input, file, layout)
    ys = given.expected(net, xs, observed, file, layout, what="--observed")
    inner = given.layer_outputs(net, xs, layer_output, file, layout)
    many = len(xs) > 1
    with given.progress_bar() as progress:
        found = search(
            net,
            xs if many else xs[0],
            ys if many else ys[0],
            layers=(inner if many else inner[0]) if layer_output else None,
            max_mistakes=max_mistakes,
            progress=progress,
        )
    if plot is not None:
        import numpy as np

        from ..network import predict as run
        from ..plots import comparison

        if isinstance(ys[0], tuple) or getattr(ys[0], "dtype", None) is None:
            raise InputError("only one output of numbers can be drawn")
        y = np.asarray(run(net, xs[0]))
        explained = {}
        if found.findings and len(found.findings[0].outputs[0]) == len(y):
            explained["with the mistake"] = found.findings[0].outputs[0]
        comparison(
            plot, y, ys[0], recorded="observed", others=explained,
            title=textwrap.shorten(f"{file.name}: {found.summary}", 110),
        )  # fmt: skip
    if json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0 if found.verdict in ("agree", "precision") else DISAGREES
