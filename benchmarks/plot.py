"""The picture: for each case a bar for each program, as long as its wall time beside smartremote's. SVG, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .report import Measured

WIDTH = 760
LABEL = 220  # where bars begin
UNIT = 120  # the length of smartremote's bar
MOST = 4.0  # longer bars are cut, and say so
ROW, GAP = 18, 34

# Read well on white and on black, and by the colour-blind.
OURS, OTHERS, INK = "#0087d7", "#808080", "#808080"


def draw(measured: Sequence[Measured]) -> str:
    """Return the SVG of all cases that compare smartremote with others."""
    parts: list[str] = []
    y = 8
    for one in measured:
        bars = _bars(one)
        if not bars:
            continue
        y += GAP
        parts.append(_text(8, y - 12, one.case.title, bold=True))
        for label, times, seconds in bars:
            length = min(times, MOST) * UNIT
            colour = OURS if label == one.case.ours else OTHERS
            cut = " ..." if times > MOST else ""
            parts.append(_text(LABEL - 8, y + 12, label, end=True))
            size = f'width="{max(length, 1):.1f}" height="{ROW - 5}"'
            parts.append(f'<rect x="{LABEL}" y="{y + 2}" {size} rx="2" fill="{colour}"/>')
            parts.append(_text(LABEL + length + 6, y + 12, f"{times:.2f}{cut}  ({seconds:.2f} s)"))
            y += ROW
    line = f'<line x1="{LABEL + UNIT}" x2="{LABEL + UNIT}" y1="30" y2="{y}" stroke="{OURS}" stroke-dasharray="2 3"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 16}" '
            f'viewBox="0 0 {WIDTH} {y + 16}" font-family="sans-serif" font-size="12">',
            "<title>Wall time of the same work, as a multiple of smartremote's</title>",
            *parts,
            *([line] if parts else []),
            "</svg>",
            "",
        ]
    )


def _bars(one: Measured) -> list[tuple[str, float, float]]:
    """Return label, multiple of our wall time and seconds of each program, ours first."""
    ours = one.case.ours
    if ours is None:
        return []
    bars = []
    for label, outcome in one.results.outcomes.items():
        share = one.results.ratio("wall", ours, label)
        if share:
            bars.append((label, 1 / share, outcome.median("wall")))
    return sorted(bars, key=lambda bar: bar[0] != ours)


def _text(x: float, y: float, text: str, *, bold: bool = False, end: bool = False) -> str:
    style = (' font-weight="bold"' if bold else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{INK}"{style}>{escape(text)}</text>'
