"""Pictures of predictions against recorded numbers (extra `plot`).

Those of a fine-tuning run are in `plots_training.py`.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, JlstmError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PANELS = 4


def comparison(
    path: str | Path,
    predicted: Any,
    expected: Any,
    *,
    others: dict[str, Any] | None = None,
    tolerance: float | None = None,
    title: str = "",
    recorded: str = "recorded",
) -> None:
    """Draw predictions over recorded outputs, and their difference below.

    Arguments:
        path: the picture to write; .png, .svg or .pdf.
        predicted, expected: `(time, outputs)`, or `(outputs,)` as bars.
        others: further curves by name, such as a formula that goes wrong.
        tolerance: drawn as a line in the panel of differences.
        title: what is compared.
        recorded: what the expected numbers are called.

    Raises:
        JlstmError: matplotlib is not installed.
        InputError: matplotlib does not write this kind of file.
    """
    predicted, expected = (np.atleast_1d(np.asarray(a)) for a in (predicted, expected))
    others = {name: np.asarray(curve) for name, curve in (others or {}).items()}
    series = predicted.ndim > 1
    count = min(predicted.shape[-1], MAX_PANELS) if series else 1
    figure = blank(8, 1.4 + 1.8 * (count + 1))
    figure.subplots(count + 1, 1, sharex=True)
    axes = figure.axes
    for k in range(count):
        if series:
            _curves(axes[k], predicted[:, k], expected[:, k], recorded)
            for name, curve in others.items():
                axes[k].plot(curve[:, k], color="tab:red", lw=0.9, label=name)
        else:
            _bars(axes[k], predicted, expected, recorded)
        axes[k].set_ylabel(f"output {k + 1}" if series else "value")
    axes[0].legend(loc="best", fontsize=8, frameon=False)
    words = plain(title)
    if series and count < predicted.shape[-1]:
        words += f" (the first {count} of {predicted.shape[-1]} outputs)"
    axes[0].set_title(words.strip(), fontsize=10)
    _differences(axes[count], predicted, expected, others, tolerance)
    axes[count].set_xlabel("time step" if series else "output")
    save(figure, Path(path))


def blank(width: float, height: float) -> Figure:
    """An empty figure, in inches, that no window belongs to.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise JlstmError(
            "pictures need matplotlib", do="pip install 'jlstm[plot]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _curves(
    axes: Any, predicted: np.ndarray, expected: np.ndarray, recorded: str
) -> None:
    axes.plot(expected, color="0.7", lw=3.5, label=recorded)
    axes.plot(predicted, color="tab:blue", lw=1.1, label="jlstm")


def _bars(
    axes: Any, predicted: np.ndarray, expected: np.ndarray, recorded: str
) -> None:
    at = np.arange(1, predicted.size + 1)
    axes.bar(at - 0.2, expected, 0.4, color="0.7", label=recorded)
    axes.bar(at + 0.2, predicted, 0.4, color="tab:blue", label="jlstm")


def _differences(
    axes: Any,
    predicted: np.ndarray,
    expected: np.ndarray,
    others: dict[str, np.ndarray],
    tolerance: float | None,
) -> None:
    def worst(curve: np.ndarray) -> np.ndarray:
        error = np.abs(np.asarray(curve, float) - expected)
        return error.max(axis=-1) if error.ndim > 1 else error

    x = np.arange(len(predicted)) + (predicted.ndim == 1)
    marker = "." if predicted.ndim == 1 else None
    # Zero has no place on a logarithmic axis: the smallest step of float32 stands in.
    floor = np.finfo(np.float32).eps * max(np.abs(expected).max(), 1e-30) / 8
    error = np.maximum(worst(predicted), floor)
    axes.semilogy(x, error, color="tab:blue", lw=1, marker=marker, label="jlstm")
    for name, curve in others.items():
        axes.semilogy(x, worst(curve), color="tab:red", lw=0.9, label=name)
    if tolerance:
        axes.axhline(tolerance, color="k", ls=":", lw=1, label="tolerance")
    axes.set_ylabel("largest difference")
    axes.legend(loc="best", fontsize=8, frameon=False)


def save(figure: Figure, path: Path) -> None:
    """Write a picture; the extension says of which kind.

    Raises:
        InputError: matplotlib does not write this kind of file.
    """
    from .formats.native import write_whole

    write_whole(path, rendered(figure, writable(path)))


def writable(path: Path) -> str:
    """The kind of picture that the extension of a file asks for.

    Raises:
        JlstmError: matplotlib is not installed.
        InputError: matplotlib does not write this kind of file.
    """
    kind = path.suffix.lstrip(".").lower()
    known = blank(1, 1).canvas.get_supported_filetypes()
    if kind not in known:
        raise InputError(
            "no kind of picture", file=path, found=kind, expected=", ".join(known)
        )
    return kind


def plain(text: str, longest: int = 110) -> str:
    """A user's text as it stands: no formula between two dollars, not too long."""
    text = text if len(text) <= longest else text[: longest - 3] + "..."
    return text.replace("$", r"\$")


def rendered(figure: Figure, kind: str = "png") -> bytes:
    """The picture as the contents of a file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Letters that the font lacks become boxes, and that is all there is to it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind)
    return buffer.getvalue()
