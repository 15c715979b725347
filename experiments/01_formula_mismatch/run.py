"""Why does the formula of MATLAB Answers 2068661 not give the network's numbers?

    python experiments/01_formula_mismatch/run.py [--nets FOLDER] [--pictures FOLDER]

The question's loop is run, diagnosed and mended on the embedded network and on two
networks trained by others; its author's explanations are put to the test. Without the
folder of networks only the embedded one is used. Takes two to three minutes.
"""

from __future__ import annotations

import argparse
import os
from itertools import permutations
from pathlib import Path
from typing import Any

# These products are small: more threads only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import drawing
import follow_up
import numpy as np
from thread_loop import Outputs, as_asked, extract, mended, table

import jlstm as jl
from jlstm.demo import load_demo
from jlstm.layers import Activation, Dropout

HERE = Path(__file__).resolve().parent
NETS = HERE.parents[2] / "shared" / "nets"
STEPS_SHOWN = (1, 2, 3, 10, 100, 240)
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", type=Path, default=NETS, help="real networks")
    parser.add_argument("--pictures", type=Path, default=HERE, help="where they go")
    options = parser.parse_args()

    heading("1. The loop as it was asked about, on the embedded network")
    figures, asked, right = embedded()
    report_embedded(figures)
    drawing.loop(options.pictures / "loop.png", asked, right, load_demo()[1].outputs[0])
    heading("2. His suspicions: gate order, precision")
    report_suspicions(suspicions())
    heading("3. A fact he did not check: the layers after the LSTMs are no ReLUs")
    report_dropout()
    if not (options.nets / "manifest.json").is_file():
        print(f"\nno networks at {options.nets}: the rest needs them (--nets FOLDER)")
        return
    heading("4. The loop on two networks trained by others")
    for name in ("tanh_x2", "relu_x2"):
        report_tracking(jl.load(options.nets / "tracking" / f"{name}.mat"), name)
    heading("5. Does the layer start every step from zero?")
    errors = report_regression(options.nets)
    labels = report_labels(options.nets)
    drawing.follow_up(options.pictures / "follow_up.png", errors, labels)


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def worst(a: Any, b: Any) -> float:
    return float(np.max(np.abs(np.asarray(a, float) - np.asarray(b, float))))


# --- 1. the embedded network ----------------------------------------------------------


def embedded() -> tuple[Figures, Outputs, Outputs]:
    """The loop as asked, what `diagnose` says of it, the loop mended accordingly."""
    net, golden = load_demo()
    x, expected = np.asarray(golden.inputs[0], float), golden.outputs[0]
    p, given = extract(net), table(x)
    asked = as_asked(p, given, HiddenLayersNum=p.LSTM1[1].shape[1])
    right = mended(p, given)
    figures = {
        "errors": {name: np.abs(asked[name] - right[name]).max(1) for name in asked},
        "spread": float(np.std(expected)),
        "diagnosis": jl.diagnose(net, x, asked["fc"]),
        "mended - recorded": worst(right["fc"], expected),
        "mended - predict": worst(right["fc"], jl.predict(net, x)),
        "mended - layers": max(
            worst(right[name], golden.layers[name]) for name in ("lstm_1", "lstm_2")
        ),
    }
    return figures, asked, right


def report_embedded(figures: Figures) -> None:
    print("largest error of the loop (outputs in cm, standard deviation "
          f"{figures['spread']:.2f})")  # fmt: skip
    print("  step" + "".join(f"{name:>12}" for name in figures["errors"]))
    for t in STEPS_SHOWN:
        cells = [f"{error[t - 1]:12.2g}" for error in figures["errors"].values()]
        print(f"  {t:<4}" + "".join(cells))
    cells = [f"{error.max():12.2g}" for error in figures["errors"].values()]
    print("  any " + "".join(cells))
    print(f"\njl.diagnose(net, x, what the loop gave):\n{figures['diagnosis']}")
    print("\nmended as it says, one h, c pair for each layer:")
    print(f"  from the recorded outputs     {figures['mended - recorded']:.1e} cm")
    print(f"  from the recorded layers      {figures['mended - layers']:.1e} (single)")
    print(f"  from jl.predict (single)      {figures['mended - predict']:.1e} cm")


# --- 2. gate order and precision ------------------------------------------------------


def suspicions() -> Figures:
    """Other gate orders and single precision, with his pair of states and mended."""
    net, golden = load_demo()
    x, expected = np.asarray(golden.inputs[0]), golden.outputs[0]
    given = table(x.astype(float))
    p, units = extract(net), extract(net).LSTM1[1].shape[1]
    orders = ["".join(order) for order in permutations("ifgo")]
    single = extract(net, np.float32)
    asked = as_asked(p, given, units)["fc"]
    return {
        "asked": {
            order: worst(as_asked(p, given, units, order)["fc"], expected)
            for order in orders
        },
        "mended": {
            order: worst(mended(p, given, order)["fc"], expected) for order in orders
        },
        "asked, single - double": worst(
            as_asked(single, table(x.astype(np.float32)), units)["fc"], asked
        ),
        "mended, single": worst(
            mended(single, table(x.astype(np.float32)))["fc"], expected
        ),
        "mended, double": worst(mended(p, given)["fc"], expected),
    }


def report_suspicions(figures: Figures) -> None:
    for name in ("asked", "mended"):
        errors = figures[name]
        order = min((o for o in errors if o != "ifgo"), key=errors.__getitem__)
        print(f"loop {name + ',':<7} largest error: i f g o {errors['ifgo']:.2g} cm, "
              f"best of the 23 others ({' '.join(order)}) "
              f"{errors[order]:.2g} cm")  # fmt: skip
    for name in ("asked, single - double", "mended, single", "mended, double"):
        print(f"loop {name:<23} {figures[name]:.1e} cm")


# --- 3. a network without ReLUs -------------------------------------------------------


def without_relus(net: jl.Network) -> jl.Network:
    """The same weights with dropout where the ReLUs were: identity at prediction."""
    layers = {node.name: net.layers[node.name] for node in net.graph}
    relus = [name for name, layer in layers.items() if isinstance(layer, Activation)]
    return jl.Network.build(layers | {name: Dropout(0.2) for name in relus})


def report_dropout() -> None:
    demo, golden = load_demo()
    net, x = without_relus(demo), np.asarray(golden.inputs[0], float)
    p = extract(net)
    asked = as_asked(p, table(x), p.LSTM1[1].shape[1])["fc"]
    no_relu = mended(p, table(x), activation=lambda h: h)["fc"]
    print("the same weights in a network with dropout in place of both ReLUs:")
    print(first_lines(jl.diagnose(net, x, asked)))
    print(f"mended for both: {worst(no_relu, jl.predict(net, x)):.1e} from jl.predict")


# --- 4. networks trained by others ----------------------------------------------------


def signal(steps: int = 60) -> np.ndarray:
    """A random walk, `(time, 1)`: no data is stored with these networks."""
    return np.cumsum(np.random.default_rng(0).normal(0, 0.2, (steps, 1)), axis=0)


def report_tracking(net: Any, name: str) -> None:
    p, x = extract(net), signal()
    sizes = [weights[1].shape[1] for weights in (p.LSTM1, p.LSTM2)]
    relu_net = net.layers[net.graph[2].name].name == "relu"
    print(f"{name}: {' > '.join(node.name for node in net.graph)}, units {sizes}")
    for units in dict.fromkeys([128, *sizes]):
        try:
            asked = as_asked(p, table(x), units)["fc"]
        except (IndexError, ValueError) as error:
            print(f"  HiddenLayersNum = {units}: stops, {error}")
            continue
        print(f"  HiddenLayersNum = {units}: runs")
        print(first_lines(jl.diagnose(net, x, asked)))
    right = mended(p, table(x), activation=None if relu_net else np.tanh)["fc"]
    print(f"  mended: {worst(right, jl.predict(net, x)):.1e} from jl.predict")
    print("  predict called column by column:")
    print(first_lines(jl.diagnose(net, x, follow_up.by_column(net, x))))


def first_lines(diagnosis: jl.Diagnosis) -> str:
    """The verdict and the facts, without the remedies printed before."""
    lines = str(diagnosis).splitlines()
    end = next((k for k, row in enumerate(lines) if "what to do" in row), len(lines))
    return "\n".join("    " + line for line in lines[:end])


# --- 5. his follow-up -----------------------------------------------------------------


def regression_errors(nets: Path, name: str) -> tuple[float, float]:
    """Largest error against MATLAB's recorded numbers: state carried, state reset."""
    record = follow_up.regression(nets, name)
    carried, reset = (
        worst(follow_up.run(record.net, record.x[None], way)[0], record.recorded)
        for way in (True, False)
    )
    return carried, reset


def report_regression(nets: Path) -> dict[str, tuple[float, float]]:
    print("largest difference from the numbers that MATLAB recorded:")
    errors = {}
    for name in follow_up.REGRESSION:
        record = follow_up.regression(nets, name)
        errors[name] = carried, reset = regression_errors(nets, name)
        print(f"  {name:<26} {len(record.x):3} steps, outputs span "
              f"{np.ptp(record.recorded):6.3g}; carried {carried:.1e}, "
              f"zero at each step {reset:.2g}")  # fmt: skip
        validation = jl.validate(record.net, record.x, record.recorded)
        print(f"    jl.validate: {str(validation).splitlines()[0]}")
    record = follow_up.regression(nets, "fenn/LSTM.mat")
    print("the same network called column by column, diagnosed:")
    columns = follow_up.by_column(record.net, record.x)
    print(first_lines(jl.diagnose(record.net, record.x, columns)))
    return errors


def labels_kept(nets: Path) -> Figures:
    """Agreement with the labels that MATLAB's `classify` gave to 176 sequences."""
    data = follow_up.compressor(nets)
    double = follow_up.run(data.net, data.x, carried=True)
    single = follow_up.run(data.net, data.x, carried=True, dtype=np.float32)
    reset = follow_up.run(data.net, data.x, carried=False)
    return {
        "sequences": len(data.labels),
        "carried": data.agreement(double),
        "carried, single": data.agreement(single),
        "reset": data.agreement(reset),
        "single - double": worst(single, double),
    }


def report_labels(nets: Path) -> Figures:
    figures = labels_kept(nets)
    total = figures["sequences"]
    for name in ("carried", "carried, single", "reset"):
        print(f"compressor, state {name:<16} {figures[name]} of {total} labels")
    print(f"compressor, scores, single - double {figures['single - double']:.1e}")
    data = follow_up.compressor(nets)
    x = list(data.x[:4])
    # The last of the calls is what a network that returns the last step is left with.
    last = [follow_up.by_column(data.net, one[-1:]).ravel() for one in x]
    print("4 of its sequences, scores from calls column by column, diagnosed:")
    diagnosis = jl.diagnose(data.net, x, last)
    print(first_lines(diagnosis))
    for finding in diagnosis.findings[1 : diagnosis.tied]:
        print(f"      or: {finding.words}")
    return figures


if __name__ == "__main__":
    main()
