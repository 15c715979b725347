"""What a fine-tuning run came to: one HTML file that stands by itself.

Nothing in it is fetched or executed. Names of files, columns, layers and classes are
the user's; every text is escaped where it enters the page.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..finetuning import FineTuning
from ..formats.native import write_whole
from ..plots_time import errors, gates
from ..plots_training import Picture, decided_by, loss_name, losses, predictions
from . import page, sections
from .words import can_go_on, number, remarks, verdict

MAX_EPOCHS_LISTED = 60


def write(
    path: str | Path,
    tuned: FineTuning,
    *,
    pictures: Sequence[Picture] | None = None,
    run: Mapping[str, Any] | None = None,
) -> None:
    """Write what became of a network as one HTML file.

    Arguments:
        path: the file.
        tuned: what `finetune` returned.
        pictures: those of `draw(tuned)`, where they are drawn already.
        run: what is in the run.json of its folder: files, hashes, versions.
    """
    path = Path(path)
    drawn = {
        one.name: one for one in (pictures if pictures is not None else draw(tuned))
    }
    name = Path(str((run or {}).get("file") or "")).name
    title = f"Fine-tuning of {name}" if name else "Fine-tuning"
    body = [
        _opening(tuned, title, bool(drawn)),
        sections.scores(tuned),
        _curve(tuned, drawn),
        page.figure(drawn, "prediction", "Predictions", ""),
        page.figure(drawn, "error", "Error over time", STARTS),
        page.figure(drawn, "gates", "Gate activations", GATES),
        sections.arrays(tuned),
        sections.recordings(tuned),
        sections.settings(tuned),
        sections.origin(run) if run else "",
        _next(path.parent, can_go_on(tuned)) if run else "",
    ]
    write_whole(path, page.whole(title, *body).encode())


def draw(tuned: FineTuning) -> list[Picture]:
    """All pictures that make sense for this network; none without matplotlib.

    One that cannot be drawn says why in its `failure`: the others, and the report, are
    there all the same.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return []
    found = [_drawn(name, make, tuned) for name, make in PICTURES.items()]
    return [one for one in found if one is not None]


PICTURES: dict[str, Callable[[FineTuning], Picture | None]] = {
    "loss": losses,
    "prediction": predictions,
    "error": errors,
    "gates": gates,
}


def _drawn(
    name: str, make: Callable[[FineTuning], Picture | None], tuned: FineTuning
) -> Picture | None:
    try:
        return make(tuned)
    except Exception as error:  # hours of training are not lost to a picture
        return Picture(name, "", "", b"", f"{type(error).__name__}: {error}")


STARTS = """\
Mean absolute error, and the band of its middle 80 %. Every part of the data starts \
from the initial state of the network: where the first steps stand out, data.washout \
leaves them unscored."""
GATES = """\
Lines: the mean over all units of a layer. Area and dotted edges: the middle 80 % of \
the units, after and before. The mean change is that of a unit at a step."""


def _opening(tuned: FineTuning, title: str, pictures: bool) -> str:
    parts = [f"<h1>{escape(title)}</h1>", page.paragraph(verdict(tuned), "verdict")]
    if told := remarks(tuned):
        parts.append("<ul>" + "".join(f"<li>{escape(r)}</li>" for r in told) + "</ul>")
    if not pictures:
        parts.append(
            "<p>There are no pictures: they need matplotlib, "
            "<code>pip install 'jlstm[plot]'</code>.</p>"
        )
    return "\n".join(parts)


def _curve(tuned: FineTuning, drawn: Mapping[str, Picture]) -> str:
    name = loss_name(tuned)
    caption = (
        "Training loss is the mean over an epoch, with dropout where there is any."
    )
    picture = page.image(drawn["loss"], caption) if "loss" in drawn else ""
    head = ["epoch", "training", decided_by(tuned)]
    head += ["learning rate"] if tuned.learn_rates else []
    rates = ("", *tuned.learn_rates)
    kept = {0, tuned.best_epoch, len(tuned.history) - 1}
    every = -(-len(tuned.history) // MAX_EPOCHS_LISTED)
    rows = [
        [row["epoch"], _loss(row.get("training_loss")), _loss(tuned.losses.get(k))]
        + ([_loss(rates[k] or None)] if tuned.learn_rates else [])
        for k, row in enumerate(tuned.history)
        if k % every == 0 or k in kept
    ]
    table = page.folded("The numbers", page.table(head, rows, 0))
    return page.section(f"Loss ({name})" if name else "Loss", picture, table)


def _loss(value: Any) -> str:
    return "" if value is None else number("loss", value)


def _next(folder: Path, longer: bool) -> str:
    here = shlex.quote(str(folder))
    net = shlex.quote(str(folder / "net.safetensors"))
    lines = [
        f"jlstm inspect {net}",
        f"jlstm predict {net} --input x.csv --output y.csv",
        f"jlstm convert {net} net_tuned.mat     # back to MATLAB",
    ]
    if longer:
        more = "with more max_epochs in its config.toml"
        lines.append(f"jlstm finetune --resume {here}     # {more}")
    if (folder / "tensorboard").is_dir():
        lines.append(f"tensorboard --logdir {shlex.quote(str(folder / 'tensorboard'))}")
    else:
        lines.append("pip install 'jlstm[tensorboard]'     # curves while it trains")
    return page.section("What next", f"<pre>{escape(chr(10).join(lines))}</pre>")
