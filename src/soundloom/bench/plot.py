"""Plot series of points as lines in an SVG image, with linear or logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 640, 400, 60
COLORS = ("#1f5fa8", "#c2452d", "#3c8a4e", "#8a5aa8", "#a87b1f", "#4a4a4a")
Points = Sequence[tuple[float, float]]


def line_plot(series: Mapping[str, Points], title: str, x_label: str, y_label: str, logarithmic: bool = True) -> str:
    """Return an SVG document of named series; logarithmic axes need positive values."""
    scale = math.log10 if logarithmic else float
    xs, ys = ([scale(point[axis]) for points in series.values() for point in points] for axis in (0, 1))
    across = _Axis(min(xs), max(xs), MARGIN, WIDTH - MARGIN)
    up = _Axis(min(ys) if logarithmic else 0.0, max(ys), HEIGHT - MARGIN, MARGIN)
    font, middle = 'font-family="sans-serif" font-size="12"', f'y="{HEIGHT / 2}" text-anchor="middle"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" font-size="14">{escape(title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text x="16" {middle} transform="rotate(-90 16 {HEIGHT / 2})">{escape(y_label)}</text>',
    ]
    for value in sorted({point[0] for points in series.values() for point in points}):
        x = across(scale(value))
        parts.append(f'<path d="M{x:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{value:g}</text>')
    for share in range(5):
        at = up.low + (up.high - up.low) * share / 4
        value = 10**at if logarithmic else at
        parts.append(f'<path d="M{MARGIN} {up(at):.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{up(at) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for place, (name, points) in enumerate(series.items()):
        color = COLORS[place % len(COLORS)]
        line = " ".join(f"{across(scale(x)):.1f},{up(scale(y)):.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{MARGIN + 8}" y="{MARGIN + 14 * (place + 1)}" fill="{color}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """Map values from `low` to `high` to pixels."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        self.low, self.high = low, high if high > low else low + 1
        self.start, self.stop = start, stop

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)
