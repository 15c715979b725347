"""What the user reads about a mistake: the finding, the advice, the lines of code."""

from __future__ import annotations

from inspect import cleandoc
from typing import NamedTuple

DOC = "https://www.mathworks.com/help/deeplearning/ref/"
ANSWERS = "https://www.mathworks.com/matlabcentral/answers/"
GITHUB = "https://github.com/"


class Lines(NamedTuple):
    """Lines of a program that make the mistake, and the lines that belong there.

    A line `# ...` or `% ...` stands for lines that are left out.
    """

    wrong: str
    right: str


class Remedy(NamedTuple):
    """What a mistake is and how to mend it; a template until `explain` fills it in.

    Arguments:
        finding: completes "the observed numbers are what this network gives when ...".
        do: one sentence of advice.
        python: NumPy lines; arrays are `(time, features)`.
        matlab: MATLAB lines; arrays are features x time.
        reference: where this mistake was met, or where the right form is documented.
    """

    finding: str
    do: str
    python: Lines
    matlab: Lines
    reference: str


def lines(wrong: str, right: str) -> Lines:
    """Both blocks without the indentation of the source they are written in."""
    return Lines(cleandoc(wrong), cleandoc(right))
