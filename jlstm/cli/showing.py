"""The command that shows the whole job on a built-in network."""

from __future__ import annotations

import sys

from .options import Flag, Target, print_json


def demo(*, plot: Target = None, json: Flag = False) -> int:
    """Show the whole job on a built-in network: load, prove, stream, differentiate.

    Args:
        plot: write a picture of the network's output, the recorded output and the
            formula that goes wrong (needs jlstm[plot]).
        json: print the figures as JSON for scripts.
    """
    from .. import demo as demonstration

    figures = {}
    for section in demonstration.sections():
        figures[section.title] = section.figures
        if not json:
            print(f"{_bold('== ' + section.title)}\n{section.text}\n")
    if json:
        print_json(figures)
    else:
        print(f"{_bold('== where to go next')}\n{demonstration.NEXT}")
    if plot is not None:
        demonstration.picture(plot)
    return 0


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text
