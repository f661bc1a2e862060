"""Draws curves with logarithmic axes as SVG, without any library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "Panel", "draw"]

_WIDTH, _HEIGHT = 460, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 46, 48
_LEGEND_ROW = 20
_LEGEND_COLUMN = 190
_FONT = "font-family='system-ui, sans-serif'"
_INK, _GREY, _GRID = "#1c2430", "#5b6675", "#dfe4ea"


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: Its name in the legend.
        colour: An SVG colour.
        points: Pairs of x and y, both above 0.
        is_dashed: Whether it is dashed.
        is_bold: Whether it is emphasised.
    """

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False
    is_bold: bool = False


@dataclass(frozen=True)
class Panel:
    """One diagram.

    Attributes:
        title: The title, above it.
        x_label: The label of the horizontal axis.
        y_label: The label of the vertical axis.
        lines: The curves.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Draw the panels side by side, with one legend for all of them."""
    width = _WIDTH * len(panels)
    legend = {line.label: line for panel in panels for line in panel.lines}
    columns = max(1, (width - 2 * _LEFT) // _LEGEND_COLUMN)
    rows = -(-len(legend) // columns)
    height = _HEIGHT + 34 + rows * _LEGEND_ROW
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}' role='img' aria-label='{escape(title)}'>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
        _text(width / 2, 24, title, size=16, anchor="middle", weight="600"),
    ]
    for number, panel in enumerate(panels):
        parts.append(f"<g transform='translate({number * _WIDTH} 20)'>")
        parts.extend(_panel(panel))
        parts.append("</g>")
    for number, line in enumerate(legend.values()):
        x = _LEFT + number % columns * _LEGEND_COLUMN
        y = _HEIGHT + 36 + number // columns * _LEGEND_ROW
        parts.append(f"<line x1='{x}' y1='{y - 4}' x2='{x + 26}' y2='{y - 4}' {_stroke(line)}/>")
        parts.append(_text(x + 34, y, line.label, size=13))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis from pixel to pixel."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        low = math.floor(math.log10(min(values)) * 2) / 2
        high = math.ceil(math.log10(max(values)) * 2) / 2
        return cls(low, max(high, low + 1), start, end)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Yield the powers of ten, and also their triples if there are few."""
        exponents = range(math.floor(self.low), math.ceil(self.high) + 1)
        steps = (1.0, 3.0) if self.high - self.low <= 3 else (1.0,)
        for exponent in exponents:
            for step in steps:
                tick = step * 10.0**exponent
                if self.low - 1e-9 <= math.log10(tick) <= self.high + 1e-9:
                    yield tick


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    if not points:
        return
    x = _Axis.over([at for at, _ in points], _LEFT, _WIDTH - _RIGHT)
    y = _Axis.over([at for _, at in points], _HEIGHT - _BOTTOM, _TOP)
    yield _text(_LEFT, _TOP - 14, panel.title, size=13, colour=_GREY)
    for tick in y.ticks():
        at = y.at(tick)
        yield _rule(_LEFT, at, _WIDTH - _RIGHT, at)
        yield _text(_LEFT - 7, at + 4, _short(tick), size=12, anchor="end", colour=_GREY)
    for tick in x.ticks():
        at = x.at(tick)
        yield _rule(at, _TOP, at, _HEIGHT - _BOTTOM)
        yield _text(at, _HEIGHT - _BOTTOM + 18, _short(tick), anchor="middle", colour=_GREY)
    middle_x, middle_y = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    yield _text(middle_x, _HEIGHT - 10, panel.x_label, size=13, anchor="middle")
    turned = f"transform='rotate(-90 14 {middle_y:.0f})'"
    yield _text(14, middle_y, panel.y_label, size=13, anchor="middle", more=turned)
    # Draw emphasised curves last, above the others.
    for line in sorted(panel.lines, key=lambda one: one.is_bold):
        places = [(x.at(at), y.at(value)) for at, value in line.points]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
        yield f"<polyline points='{path}' fill='none' {_stroke(line)}/>"
        for left, top in places:
            yield f"<circle cx='{left:.1f}' cy='{top:.1f}' r='3' fill='{line.colour}'/>"


def _stroke(line: Line) -> str:
    dashes = " stroke-dasharray='6 4'" if line.is_dashed else ""
    width = 3 if line.is_bold else 1.8
    return f"stroke='{line.colour}' stroke-width='{width}' stroke-linejoin='round'{dashes}"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{_GRID}'/>"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    anchor: str = "start",
    colour: str = _INK,
    weight: str = "400",
    more: str = "",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='{size}' font-weight='{weight}' "
        f"fill='{colour}' text-anchor='{anchor}' {more}>{escape(text)}</text>"
    )


def _short(value: float) -> str:
    """Format the label of a tick: 300, 10 k, 3 M, 0.1."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
