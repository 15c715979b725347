"""Pieces of HTML: every text is escaped where it enters one."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ..plots_training import Picture


def whole(title: str, *body: str) -> str:
    """A page that stands by itself; the parts of its body are HTML."""
    frame = Template((files("jlstm") / "report" / "page.html").read_text("utf-8"))
    return frame.substitute(title=escape(title), body="\n".join(filter(None, body)))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: int) -> str:
    """A table whose columns from `numbers` on hold numbers; cells are escaped."""

    def cell(k: int, value: Any) -> str:
        text = str(value)
        kinds = (
            ["number"]
            if k >= numbers
            else ["path"]
            if "/" in text or "[" in text
            else []
        )
        kinds += [
            w for w in ("better", "worse") if text.endswith(f" {w}") and k >= numbers
        ]
        marks = f' class="{" ".join(kinds)}"' if kinds else ""
        if k:
            return f"<td{marks}>{escape(text)}</td>"
        return f'<th scope="row"{marks}>{escape(text)}</th>'

    top = "".join(
        f'<th scope="col"{" class=number" if k >= numbers else ""}>{escape(word)}</th>'
        for k, word in enumerate(head)
    )
    body = "\n".join(
        "<tr>" + "".join(cell(k, v) for k, v in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def section(title: str, *parts: str) -> str:
    """A section with a heading; its parts are HTML."""
    inner = "\n".join(filter(None, parts))
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def folded(words: str, inner: str) -> str:
    """HTML behind a line that unfolds it."""
    return f"<details><summary>{escape(words)}</summary>\n{inner}\n</details>"


def figure(drawn: Mapping[str, Picture], name: str, title: str, caption: str) -> str:
    """A section of one picture; nothing where it was not drawn."""
    return section(title, image(drawn[name], caption)) if name in drawn else ""


def image(picture: Picture, caption: str) -> str:
    """A picture within the page, with its words; or why there is none."""
    if picture.failure:
        return paragraph(f"This picture could not be drawn: {picture.failure}")
    data = base64.b64encode(picture.png).decode()
    words = f"{picture.title}. {caption}".strip()
    return (
        f'<figure><img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )
