"""Lines over what grows, a panel for each axis; the points go by tens, the values from zero. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

COLOURS = ("#2b6cb0", "#2f855a", "#b7791f", "#9f7aea")
WIDTH, HEIGHT, GAP = 420, 230, 20  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 46, 40  # around its lines


@dataclass(frozen=True)
class Point:
    at: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str  # of what grows
    measure: str  # of the values
    lines: dict[str, list[Point]]


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(text)}</text>'


class _Scale:
    """Where a point of a panel is, in pixels."""

    def __init__(self, panel: Panel):
        points = [point for line in panel.lines.values() for point in line]
        self.places = sorted({point.at for point in points})
        self.least, self.most = (math.log10(each) for each in (self.places[0], self.places[-1]))
        self.top = max(point.high for point in points) or 1.0

    def x(self, at: float) -> float:
        width = WIDTH - LEFT - RIGHT
        return LEFT + width * ((math.log10(at) - self.least) / (self.most - self.least)
                               if self.most > self.least else 0.5)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top


def _line(points: list[Point], scale: _Scale, colour: str) -> list[str]:
    path = " ".join(f"{scale.x(p.at):.1f},{scale.y(p.value):.1f}" for p in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for p in points:
        x = scale.x(p.at)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{scale.y(p.low):.1f}" y2="{scale.y(p.high):.1f}" '
                     f'stroke="{colour}"/><circle cx="{x:.1f}" cy="{scale.y(p.value):.1f}" r="3" fill="{colour}"/>')
    return parts


def _panel(panel: Panel) -> str:
    scale = _Scale(panel)
    parts = [_text(0, 14, panel.title, ' font-weight="bold"')]
    x = 0.0
    for number, name in enumerate(panel.lines):
        parts.append(f'<rect x="{x:.0f}" y="24" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(_text(x + 14, 33, name, ' font-size="11"'))
        x += 30 + 6 * len(name)
    for share in (0, 0.5, 1):
        y = scale.y(scale.top * share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 4, y + 4, f"{scale.top * share:.3g} {panel.measure}",
                           ' text-anchor="end" font-size="11"'))
    for at in scale.places:
        parts.append(_text(scale.x(at), HEIGHT - BOTTOM + 15, f"{at:,.0f}", ' text-anchor="middle" font-size="11"'))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, panel.unit, ' text-anchor="middle" font-size="11"'))
    for number, points in enumerate(panel.lines.values()):
        parts += _line(points, scale, COLOURS[number % len(COLOURS)])
    return "".join(parts)


def svg(panels: list[Panel], title: str) -> str:
    """Two panels a row; a picture that needs nothing else."""
    rows = (len(panels) + 1) // 2
    width, height = 2 * WIDTH + 3 * GAP, rows * (HEIGHT + GAP) + GAP
    placed = "".join(f'<g transform="translate({GAP + n % 2 * (WIDTH + GAP)},{GAP + n // 2 * (HEIGHT + GAP)})">'
                     f"{_panel(panel)}</g>" for n, panel in enumerate(panels))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            f'font-size="12" role="img"><title>{escape(title)}</title>'
            f'<rect width="100%" height="100%" fill="#fff"/>{placed}</svg>\n')
