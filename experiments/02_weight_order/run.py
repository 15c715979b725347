"""Gates grouped or units interleaved, in which order? MATLAB's numbers decide.

    python experiments/02_weight_order/run.py [--nets FOLDER] [--picture FILE]

Every reading of the weight arrays (24 orders of the gates, grouped or interleaved, R as
it is or transposed) is run on networks for which MATLAB recorded predictions. Without
the folder of networks only the embedded one is used, whose outputs torch computed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

# These products are small: more threads only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from matplotlib.figure import Figure
from readings import MATLAB, Reading, every, gates, run

import jlstm as jl
from jlstm.demo import load_demo
from jlstm.formats.fields import strings
from jlstm.formats.matfile import MatFile

HERE = Path(__file__).resolve().parent
NETS = HERE.parents[2] / "shared" / "nets"
REGRESSION = {
    "fenn/LSTM.mat": ("inputdataStandardized", "YPred"),
    "fenn/Hepatitis_B.mat": ("dataTrainStandardized", "Ytrainres"),
    "fenn/Varicella-Region.mat": ("dataTrainStandardized", "Ytrainres"),
    "story/net_story.mat": ("X", "YPred"),
}
KINDS = {
    (True, False): ("grouped, R as it is", "tab:blue"),
    (True, True): ("grouped, R transposed", "tab:cyan"),
    (False, False): ("interleaved, R as it is", "tab:red"),
    (False, True): ("interleaved, R transposed", "tab:orange"),
}
Errors = dict[Reading, float]


class Record(NamedTuple):
    """A network, what went in `(time, features)`, what came out `(time, outputs)`."""

    net: Any
    x: np.ndarray
    recorded: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", type=Path, default=NETS, help="real networks")
    parser.add_argument("--picture", type=Path, default=HERE / "readings.png")
    options = parser.parse_args()
    if not (options.nets / "manifest.json").is_file():
        print(f"no networks at {options.nets} (--nets FOLDER): only the embedded one,\n"
              "whose outputs are torch's and not MATLAB's")  # fmt: skip
        report({"embedded": errors(embedded())}, {})
        return
    records = {name: recorded(options.nets, name) for name in REGRESSION}
    found = {name: errors(record) for name, record in records.items()}
    labels = kept(options.nets)
    report(found, labels)
    report_forget_bias({name: record.net for name, record in records.items()})
    report_exchanged(records["story/net_story.mat"])
    report_diagnosis(records["fenn/LSTM.mat"])
    picture(options.picture, found, labels)


# --- what was recorded ----------------------------------------------------------------


def embedded() -> Record:
    net, golden = load_demo()
    return Record(net, golden.inputs[0], golden.outputs[0])


def recorded(nets: Path, name: str) -> Record:
    """Input and MATLAB's predictions, in the units in which MATLAB recorded them."""
    file, (given, expected) = MatFile(nets / name), REGRESSION[name]
    x, y = (np.asarray(file[key], float) for key in (given, expected))
    if name == "fenn/LSTM.mat":  # recorded in the units of the data
        y = (y - np.asarray(file["mu"])) / np.asarray(file["sig"])
    # Some were stored features x time, some time x features.
    return Record(jl.load(nets / name), x.T, y if len(y) == x.shape[1] else y.T)


# --- measurements ---------------------------------------------------------------------


def errors(record: Record) -> Errors:
    """The largest difference from the recorded numbers, for each of the 96 readings."""
    return {
        reading: float(np.abs(run(record.net, record.x[None], reading)[0]
                              - record.recorded).max())
        for reading in every()
    }  # fmt: skip


def kept(nets: Path) -> dict[Reading, float]:
    """How many of MATLAB's 176 labels each reading gives: both LSTM layers read so."""
    folder = nets / "compressor"
    features = MatFile(folder / "ValidationFeatures.mat")["validationFeatures"]
    labels = strings(MatFile(folder / "ValidationResults.mat")["validationResults"])
    net = jl.load(folder / "TrainedModel.mat")
    x = np.stack([np.asarray(sequence).T for sequence in features])
    wanted = np.array([net.classes.index(label) for label in labels or ()])
    return {
        reading: int(np.sum(np.argmax(run(net, x, reading), axis=1) == wanted))
        for reading in every()
    }


def forget_bias(net: Any, reading: Reading) -> dict[str, float]:
    """The mean bias of each gate: training starts with 1 in the forget gate."""
    layer = net.layers[net.recurrent[0]]
    return {k: float(b.mean()) for k, (_, _, b) in gates(layer, reading).items()}


# --- what is printed ------------------------------------------------------------------


def report(found: dict[str, Errors], labels: dict[Reading, float]) -> None:
    columns = [*found, *(["labels kept"] if labels else [])]
    first = next(iter(found.values()))
    print(f"{'largest error':<33}" + "".join(f"{short(c):>18}" for c in columns))
    for reading in sorted(
        first, key=lambda r: (not r.grouped, r.transposed, r != MATLAB)
    ):
        cells = [f"{found[name][reading]:18.2g}" for name in found]
        cells += [f"{labels[reading]:18}"] if labels else []
        print(f"{reading!s:<33}" + "".join(cells))
    print()
    for name, values in found.items():
        ranked = sorted(values, key=values.__getitem__)
        best, second = ranked[:2]
        print(f"{name}: best {best} {values[best]:.1e}; next {second} "
              f"{values[second]:.2g}, {values[second] / values[best]:.0e} times as "
              "much")  # fmt: skip
    if labels:
        best, second = sorted(labels, key=labels.__getitem__, reverse=True)[:2]
        print(f"compressor: best {best} {labels[best]} of 176 labels; next {second} "
              f"{labels[second]}")  # fmt: skip


def short(name: str) -> str:
    return Path(name).stem if name != "labels kept" else name


def report_forget_bias(nets: dict[str, Any]) -> None:
    print("\nmean bias of each gate, i f g o grouped, and i f g o interleaved:")
    for name, net in nets.items():
        for reading in (MATLAB, MATLAB._replace(grouped=False)):
            means = forget_bias(net, reading)
            cells = "".join(f"  {k} {mean:+.3f}" for k, mean in means.items())
            print(f"  {name:<26} {'grouped' if reading.grouped else 'interleaved':<12}"
                  f"{cells}")  # fmt: skip


def report_exchanged(record: Record) -> None:
    print("\ninput and output gate of story, largest weights and difference:")
    layer = record.net.layers["lstm"]
    for field in ("input_weights", "recurrent_weights", "bias"):
        i, o = (np.asarray(getattr(gate, field)) for gate in (layer.i, layer.o))
        print(f"  {field:<18} i {abs(i).max():.2g}, o {abs(o).max():.2g}, "
              f"i - o {abs(i - o).max():.2g}")  # fmt: skip
    wrong = dataclasses.replace(layer, i=layer.o, o=layer.i)
    net = dataclasses.replace(record.net, layers=record.net.layers | {"lstm": wrong})
    first = str(jl.validate(net, record.x, record.recorded)).splitlines()[0]
    print(f"  exchanged, jl.validate: {first}")


def report_diagnosis(record: Record) -> None:
    print("\nwhat jl.diagnose says of the interleaved reading, fenn/LSTM.mat:")
    y = run(record.net, record.x[None], MATLAB._replace(grouped=False))[0]
    print(jl.diagnose(record.net, record.x, y))


# --- the picture ----------------------------------------------------------------------


def picture(path: Path, found: dict[str, Errors], labels: dict[Reading, float]) -> None:
    figure = Figure(figsize=(9, 6), layout="constrained", dpi=100)
    panels = figure.subplots(2, 3).ravel()
    for panel, (name, values) in zip(panels, found.items(), strict=False):
        bars(panel, sorted(values, key=values.__getitem__), values)
        panel.set_yscale("log")
        panel.set_ylim(1e-9, 20)
        panel.set_title(name, fontsize=10)
        panel.set_ylabel("largest error against MATLAB", fontsize=8)
        note(panel, f"i f g o, grouped: {values[MATLAB]:.0e}", values[MATLAB])
    panel = panels[4]
    bars(panel, sorted(labels, key=labels.__getitem__, reverse=True), labels)
    panel.set_ylim(0, 195)
    panel.set_title("compressor", fontsize=10)
    panel.set_ylabel("of 176 labels kept", fontsize=8)
    note(panel, f"i f g o, grouped: {labels[MATLAB]}", labels[MATLAB])
    panels[5].axis("off")
    for label, colour in KINDS.values():
        panels[5].bar([0], [0], color=colour, label=label)
    panels[5].legend(loc="center", frameon=False, fontsize=9,
                     title="24 orders of the gates each", title_fontsize=9)  # fmt: skip
    figure.savefig(path)


def bars(panel: Any, ranked: list[Reading], values: Errors) -> None:
    colours = [KINDS[r.grouped, r.transposed][1] for r in ranked]
    panel.bar(range(1, 97), [values[r] for r in ranked], color=colours, width=1.0)
    panel.set_xlabel("rank of the reading", fontsize=8)
    panel.set_xlim(-1, 98)


def note(panel: Any, text: str, value: float) -> None:
    panel.annotate(text, (1, value), (12, 6), textcoords="offset points", fontsize=8,
                   va="bottom", bbox=dict(fc="white", ec="none", pad=1),
                   arrowprops=dict(arrowstyle="-", lw=0.8))  # fmt: skip


if __name__ == "__main__":
    main()
