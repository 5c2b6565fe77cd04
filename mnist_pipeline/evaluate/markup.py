"""Markup that is escaped by construction, and the few pieces that every section is made of."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.data.png import png_bytes

_VOID = frozenset({"meta", "img", "br", "col"})
# control characters would vanish or break a line: show their pictures (U+2400 …) instead
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


class Html(str):
    """Markup. Any other `str` is text, which `el` escapes."""

    __slots__ = ()


def text(value: object) -> Html:
    """Text as markup: escaped, control characters visible, encodable as UTF-8."""
    if isinstance(value, Html):
        return value
    plain = str(value).translate(_VISIBLE).encode("utf-8", "backslashreplace").decode()
    return Html(html.escape(plain))


def join(parts: Iterable[object]) -> Html:
    """Pieces of markup and text in a row."""
    return Html("".join(text(part) for part in parts))


def el(name: str, *children: object, **attributes: object) -> Html:
    """An element; `class_` spells `class`, `text_anchor` spells `text-anchor`, None leaves out."""
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{text(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opening = f"<{name}{''.join(pairs)}>"
    return Html(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def _plain(value: object) -> str:
    """An attribute's value: coordinates with two digits; what is markup elsewhere is text here."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def png(image: NDArray[np.uint8]) -> str:
    """An (H, W) uint8 image as the data URI of a grey PNG."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode()


def picture(image: NDArray[np.uint8], alt: str) -> Html:
    """An (H, W) uint8 image, as large as its place allows; `alt` says it in words."""
    height, width = image.shape
    return el("img", src=png(image), alt=alt, style=f"--w:{width};--h:{height}")


def section(title: str, *content: object) -> Html:
    """A chapter of the page."""
    return el("section", el("h2", title), *content, class_="chapter")


def part(title: str, *content: object, **attributes: object) -> Html:
    """One subject of a chapter."""
    return el("section", el("h3", title), *content, **attributes)


def note(*words: object) -> Html:
    """What a figure or a table means, in quiet letters."""
    return el("p", *words, class_="note")


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], style: str = "list", *, caption: str
) -> Html:
    """A table whose first column names the rows; `caption` is for those who hear it read."""
    header = el("thead", el("tr", *(el("th", cell, scope="col") for cell in head)))
    lines = (
        el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:]))
        for row in rows
    )
    return el("table", el("caption", caption), header, el("tbody", *lines), class_=style)
