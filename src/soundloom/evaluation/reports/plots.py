"""Plots of reports as SVG without scripts: axes, units, points and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from soundloom.evaluation.reports.record import Curve, Difference

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 12, 46
TICKS = 5
ROW = 26


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that cover a range."""
    span = (high - low) or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= TICKS)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def curve_svg(curve: Curve) -> str:
    """Return a curve with its intervals as error bars, "" if no point is finite."""
    edges = curve.intervals or tuple((y, y) for y in curve.y)
    finite = [i for i, point in enumerate(zip(curve.x, curve.y, strict=True)) if all(map(math.isfinite, point))]
    if not finite:
        return ""
    heights = [value for i in finite for value in (curve.y[i], *edges[i]) if math.isfinite(value)]
    across, up = (
        ticks(min(curve.x[i] for i in finite), max(curve.x[i] for i in finite)),
        ticks(min(heights), max(heights)),
    )

    def place(x: float, y: float) -> tuple[float, float]:
        right = LEFT + (x - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)
        return right, HEIGHT - BOTTOM - (y - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM)

    parts = [_axes(curve, across, up, place)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(curve.x[i], curve.y[i]) for i in finite))
    parts.append(f'<polyline class="line" points="{path}"/>')
    for i in finite:
        x, y = place(curve.x[i], curve.y[i])
        low, high = edges[i]
        if math.isfinite(low) and math.isfinite(high) and low < high:
            a, b = place(curve.x[i], low)[1], place(curve.x[i], high)[1]
            parts.append(
                f'<path class="bar" d="M{x:.1f},{a:.1f}V{b:.1f}M{x - 4:.1f},{a:.1f}h8M{x - 4:.1f},{b:.1f}h8"/>'
            )
        label = curve.labels[i] if i < len(curve.labels) else ""
        title = f"{label} " if label else ""
        title += f"x {curve.x[i]:.4g}, y {curve.y[i]:.4g} ({low:.4g} … {high:.4g})"
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(title)}</title></circle>')
    name = f"{curve.name}: {curve.y_label} over {curve.x_label}"
    return _svg(WIDTH, HEIGHT, name, "".join(parts))


def _axes(curve: Curve, across: Sequence[float], up: Sequence[float], place: object) -> str:
    assert callable(place)
    parts = []
    for value in across:
        x, _ = place(value, up[0])
        parts.append(f'<path class="grid" d="M{x:.1f},{TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
    for value in up:
        _, y = place(across[0], value)
        parts.append(f'<path class="grid" d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(curve.x_label)}</text>'
    )
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(curve.y_label)}'
        "</text>"
    )
    return "".join(parts)


def differences_svg(differences: Sequence[Difference]) -> str:
    """Return one row for each difference with its interval; the scale of a row is its margin, shaded, if it has one.

    Rows are drawn so that right is better; figures without a better direction are left out.
    """
    directed = [item for item in differences if item.direction and item.interval]
    rows = [item for item in directed if item.interval and all(map(math.isfinite, item.interval))]
    if not rows:
        return ""
    several = len({item.subject for item in rows}) > 1
    width, label, top = 640, 250, 8
    middle, half = label + (width - label) / 2, (width - label) / 2 - 12
    parts = [f'<path class="axis" d="M{middle:.1f},{top}V{top + ROW * len(rows)}"/>']
    for index, item in enumerate(rows):
        y = top + ROW * (index + 0.5)
        assert item.interval
        sign = -1 if item.direction == "lower" else 1
        reach = max(*(abs(edge) for edge in item.interval), 1.5 * (item.margin or 0)) or 1.0
        low, value, high = (sign * v / reach * half for v in (item.interval[0], item.difference, item.interval[1]))
        name = f"{item.subject}: {item.figure}" if several else item.figure
        name = name if len(name) <= 36 else f"{name[:35]}…"  # characters that fit
        parts.append(f'<text x="{label - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        if item.margin:
            wide = item.margin / reach * half
            parts.append(
                f'<rect class="margin" x="{middle - wide:.1f}" y="{y - 9}" width="{2 * wide:.1f}" height="18"/>'
            )
        parts.append(f'<path class="bar" d="M{middle + low:.1f},{y}H{middle + high:.1f}"/>')
        parts.append(f'<circle class="point" cx="{middle + value:.1f}" cy="{y}" r="4"/>')
    height = top + ROW * len(rows) + 24
    parts.append(f'<text x="{middle - 10}" y="{height - 6}" text-anchor="end">worse</text>')
    parts.append(f'<text x="{middle + 10}" y="{height - 6}">better</text>')
    return _svg(width, height, "differences with 95 % intervals, against their margins", "".join(parts))


def _svg(width: float, height: float, name: str, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(name)}">{content}</svg>'
    )
