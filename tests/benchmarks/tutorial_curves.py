"""The picture of docs/tutorial.md: validation accuracy against the iteration, as SVG by hand."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 48, 160, 24, 44
LOWEST, LINE = 40, 16
"""Percent at the bottom of the picture; units from one label to the next, at least."""

COLOURS = ("#888888", "#0077bb", "#cc3311", "#009988", "#ee7733", "#aa4499", "#ddaa33", "#55bbee")
"""Told apart by the colour-blind too, and on light and dark ground (after Tol 2021)."""

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #444 }
path { fill: none; stroke-width: 2 }
line { stroke: #8884 }
@media (prefers-color-scheme: dark) { text { fill: #bbb } }
"""

History = Sequence[Mapping[str, Any]]


def curves(histories: Mapping[str, Sequence[History]]) -> str:
    """One line a name: the mean over its trainings, evaluation by evaluation."""
    last = max(runs[0][-1]["step"] for runs in histories.values())

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(percent: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (100 - percent) / (100 - LOWEST)

    parts = []
    for percent in range(LOWEST, 101, 10):
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(percent):.1f}" y2="{y(percent):.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y(percent) + 4:.1f}" text-anchor="end">{percent}</text>'
        )
    for step in range(0, last + 1, 100):
        parts.append(
            f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{step}</text>'
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">iteration</text>')
    parts.append(f'<text x="8" y="{TOP - 10}">% of validation images read correctly</text>')

    ends: list[tuple[float, str, str]] = []
    for colour, (name, runs) in zip(COLOURS, histories.items(), strict=False):
        points = [
            (records[0]["step"], 100 * statistics.mean(r["validation_accuracy"] for r in records))
            for records in zip(*runs, strict=True)
        ]
        shown = [(x(step), y(percent)) for step, percent in points if percent >= LOWEST]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in shown)
        parts.append(f'<path stroke="{colour}" d="M{line}"/>')
        ends.append((shown[-1][1], name, colour))
    baseline = 0.0
    for end, name, colour in sorted(ends):
        baseline = max(end + 4, baseline + LINE)  # labels make room for each other
        style = f"fill: {colour}; font-weight: 600"
        label = html.escape(name)
        position = f'x="{WIDTH - RIGHT + 8}" y="{baseline:.1f}"'
        parts.append(f'<text {position} style="{style}">{label}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Validation accuracy while training">\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
