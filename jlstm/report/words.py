"""What a fine-tuning run came to, in words: nothing is called better that is not."""

from __future__ import annotations

import math

from ..finetuning import FineTuning
from ..plots_training import best_network, starting_network
from ..scoring import units_hint
from ..training.loop import CALLED, DIVERGED, MAX_EPOCHS

NOTES = {
    "rmse": "root mean squared error, in the unit of the target",
    "nrmse": "RMSE in standard deviations of the target; 1 is as good as its mean",
    "mae": "mean absolute error, in the unit of the target",
    "r2": "coefficient of determination, the same number as NSE",
    "nse": "Nash-Sutcliffe efficiency; 1 is perfect, 0 is as good as the target's mean",
    "kge": "Kling-Gupta efficiency; 1 is perfect",
    "fit": "the percentage that MATLAB's compare prints; 100 is perfect",
    "accuracy": "share of what was taken for its true class",
    "cross_entropy": "mean cross-entropy of the scores, in nats",
}
ERRORS = ("rmse", "nrmse", "mae", "cross_entropy")
"""Measures that are better when they are smaller; they change by per cent."""
NAMES = {"train": "Training", "validation": "Validation", "test": "Test"}
SAME = 1e-3
"""A relative change below this is called none."""


def verdict(tuned: FineTuning) -> str:
    """One sentence, what the training was worth, on the data held out; and when."""
    last = tuned.history[-1]["epoch"]
    ending = f"stopped because {tuned.reason}"
    if not tuned.kept_epoch and tuned.config.normalization == "recompute":
        return (
            f"No epoch, of {last}, gave a lower loss than {starting_network(tuned)}, "
            f"which is what came back: {_score_words(tuned)}; {ending}."
        )
    if not tuned.kept_epoch:
        told = _score_words(tuned, changed=False)
        return (
            f"No improvement: no epoch, of {last}, gave a lower loss than the imported "
            f"network, which came back as it was ({told}); {ending}."
        )
    kept = f"best epoch {tuned.best_epoch} of {last}"
    if tuned.kept_epoch != tuned.best_epoch:
        best = best_network(tuned)
        kept = f"the network of the last epoch, {last}; the best was {best}"
    return f"{_score_words(tuned)}; {kept}; {ending}."


def remarks(tuned: FineTuning) -> list[str]:
    """What must be known to read the verdict rightly, a sentence each."""
    found = []
    part, key = tuned.held_out, main_score(tuned)
    if part == "train":
        found.append(
            "Nothing was kept aside: these are errors on the data that were learned "
            "from, and say little about new data. data.validation keeps some aside."
        )
    if part == "validation" and tuned.kept_epoch:
        found.append(
            "The validation data also chose the epoch, which flatters their error. "
            "data.test keeps data aside that decide nothing."
        )
    for other in tuned.before:
        old, new = tuned.before[other][key], tuned.after[other][key]
        if other != part and change(key, old, new).endswith("worse"):
            found.append(
                f"On the {NAMES[other].lower()} data it got worse: {label(key)} "
                f"{before_and_after(key, old, new)}."
            )
    hint = units_hint(tuned.predictions["train"], tuned.config.data)
    if hint and not tuned.net.classes:
        found.append(f"{hint[0].upper()}{hint[1:]}.")
    if tuned.reason == CALLED and not tuned.history[-1]["steps"]:
        found.append("No step was made: the callback said stop before the first epoch.")
    if tuned.reason == DIVERGED:
        found.append(
            "The training diverged; what came back is the best network before that. "
            "A lower initial_learn_rate or a gradient_threshold is the usual remedy."
        )
    if can_go_on(tuned) and tuned.best_epoch == tuned.history[-1]["epoch"]:
        found.append("The last epoch was the best: more of them (max_epochs) may help.")
    return found


def can_go_on(tuned: FineTuning) -> bool:
    """Whether the run goes on where it ended if it is given more epochs.

    The rate of the cosine schedule follows from how many there are: with more of them
    it is another run from the first step on.
    """
    cosine = tuned.config.learn_rate_schedule == "cosine"
    return tuned.reason == MAX_EPOCHS and not cosine


def main_score(tuned: FineTuning) -> str:
    """The measure that the verdict is about."""
    return "accuracy" if tuned.net.classes else "rmse"


def label(key: str) -> str:
    """A measure as it is written."""
    words = {"cross_entropy": "cross-entropy", "accuracy": "accuracy", "fit": "fit"}
    return words.get(key, "R2" if key == "r2" else key.upper())


def change(key: str, old: float, new: float) -> str:
    """What became of a measure: "3.1 % better", "0.02 worse", "same"."""
    if not (math.isfinite(old) and math.isfinite(new)):
        return "not comparable"
    gain = old - new if key in ERRORS else new - old
    # The others tell by how far they are from perfect: R2 of 0.999 and 0.9999 differ.
    top = 100 if key == "fit" else 1
    scale = abs(old) if key in ERRORS else max(abs(top - old), abs(top - new))
    if old == new or abs(gain) < SAME * scale:
        return "same"
    word = "better" if gain > 0 else "worse"
    if key == "accuracy":
        return f"{100 * abs(gain):.2g} points {word}"
    if key not in ERRORS or not old:
        return f"{abs(gain):.2g} {word}"
    if new > 3 * old:
        return f"{new / old:.2g}-fold worse"
    percent = 100 * abs(gain) / abs(old)
    return f"{percent:.{0 if percent >= 10 else 1}f} % {word}"


def before_and_after(key: str, old: float, new: float) -> str:
    """Both numbers, with as many digits as tell them apart."""
    pairs = [
        [number(key, value, digits) for value in (old, new)] for digits in range(3, 9)
    ]
    first, second = next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])
    return f"{first} before, {second} after"


def number(key: str, value: float, digits: int = 4) -> str:
    """A measure as text; accuracy in per cent."""
    if not math.isfinite(value):
        return "not a number"
    if key == "accuracy":
        return f"{100 * value:.{digits}g} %"
    return f"{value:.{digits}g}"


def _score_words(tuned: FineTuning, changed: bool = True) -> str:
    part, key = tuned.held_out, main_score(tuned)
    scores = tuned.before[part], tuned.after[part]
    old, new = scores[0][key], scores[1][key]
    name = f"{NAMES[part]} {label(key)}"
    if not changed:
        return f"{name} {number(key, new)}"
    words = change(key, old, new)
    if words == "same":
        words = "no change to speak of"
        if key == "accuracy":
            entropy = [score["cross_entropy"] for score in scores]
            words += (
                f"; cross-entropy {before_and_after('cross_entropy', *entropy)}, "
                f"{change('cross_entropy', *entropy)}"
            )
    return f"{name} {before_and_after(key, old, new)}: {words}"
