"""The pictures of this experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

GREY, RED, BLUE, ORANGE = "0.75", "tab:red", "tab:blue", "tab:orange"


def loop(path: Path, asked: Any, right: Any, recorded: np.ndarray) -> None:
    """Outputs of the loop, wrong and mended, and the wrong loop's error by layer."""
    figure = Figure(figsize=(9, 7.5), layout="constrained", dpi=100)
    axes = figure.subplots(3, 2, sharex="col", width_ratios=[4, 1.1])
    steps = np.arange(1, len(recorded) + 1)
    for k in range(2):
        panel = axes[k, 0]
        panel.plot(steps, recorded[:, k], color=GREY, lw=5, label="network, recorded")
        panel.plot(steps, asked["fc"][:, k], color=RED, lw=1.2, label="loop as asked")
        panel.plot(steps, right["fc"][:, k], color=BLUE, lw=1.2, label="loop mended")
        panel.set_ylabel(f"level of tank {k + 1}, cm")
    axes[0, 0].legend(fontsize=8, frameon=False, ncols=3, loc="lower right")
    axes[0, 0].set_title("One h, c pair for two LSTM layers, and one pair each",
                         fontsize=10)  # fmt: skip
    names = {"lstm_1": "LSTM 1", "lstm_2": "LSTM 2", "fc": "output, cm"}
    colours = dict(zip(names, (BLUE, ORANGE, RED), strict=True))
    for name in ("lstm_1", "lstm_2"):
        error = np.abs(asked[name] - right[name]).max(axis=1)
        axes[2, 0].plot(steps, error, color=colours[name], lw=1.2, label=names[name])
    axes[2, 0].set(
        ylabel="largest error of a layer", xlabel="time step", ylim=(0, 1.25)
    )
    axes[2, 0].legend(fontsize=8, frameon=False, ncols=2, loc="upper right",
                      title="loop as asked", title_fontsize=8)  # fmt: skip
    left = np.abs(right["fc"] - recorded).max()
    axes[2, 0].text(0.01, 0.93, f"loop mended: output within {left:.0e} cm",
                    transform=axes[2, 0].transAxes, color=BLUE, fontsize=8)  # fmt: skip
    for k, t in enumerate((0, 1)):
        _first_steps(axes[k, 1], asked, right, names, colours, t)
    axes[2, 1].axis("off")
    axes[0, 1].set_title("largest error", fontsize=10)
    axes[1, 1].tick_params(labelbottom=True)
    figure.savefig(path)


def _first_steps(
    panel: Any, asked: Any, right: Any, names: Any, colours: Any, t: int
) -> None:
    errors = [np.abs(asked[name][t] - right[name][t]).max() for name in names]
    bars = panel.bar(list(names.values()), errors, color=[colours[n] for n in names])
    panel.bar_label(bars, [f"{e:.2g}" for e in errors], fontsize=8, padding=1)
    panel.set_ylabel(f"step {t + 1}")
    panel.set_ylim(0, 1.3)
    panel.set_xticks(range(len(names)), ["LSTM 1", "LSTM 2", "out, cm"], fontsize=8)


def follow_up(path: Path, errors: Any, labels: Any) -> None:
    """State carried against state zero at each step, judged by MATLAB's numbers."""
    figure = Figure(figsize=(8, 3.4), layout="constrained", dpi=100)
    left, right = figure.subplots(1, 2, width_ratios=[3, 1.1])
    at = np.arange(len(errors))
    ways = (("state carried", BLUE, -0.2), ("zero at each step", RED, 0.2))
    for k, (label, colour, shift) in enumerate(ways):
        values = [pair[k] for pair in errors.values()]
        bars = left.bar(at + shift, values, 0.38, color=colour, label=label, log=True)
        left.bar_label(bars, [f"{v:.1e}" for v in values], fontsize=7, padding=1)
    left.set_xticks(at, [name.removesuffix(".mat") for name in errors], fontsize=8)
    left.set(ylim=(1e-9, 1e3), ylabel="largest difference from MATLAB")
    left.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    left.set_title("predictions recorded by MATLAB", fontsize=10)
    kept = [labels["carried"], labels["reset"]]
    bars = right.bar(["carried", "zero"], kept, color=[BLUE, RED])
    right.bar_label(bars, fontsize=8)
    right.axhline(labels["sequences"], color="k", lw=0.8, ls=":")
    right.set(ylabel="labels equal to MATLAB's", ylim=(0, 1.15 * labels["sequences"]))
    right.set_title("compressor, labels", fontsize=10)
    figure.savefig(path)
