"""The parts of a report as titled tables, which the Markdown and HTML forms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.anchors import anchor_text
from soundloom.evaluation.reports.machine import host
from soundloom.evaluation.reports.record import ClipRecord, Difference, Report, failure_counts
from soundloom.evaluation.statistics.intervals import Interval

BETTER = {"higher": "higher is better", "lower": "lower is better", "": ""}


@dataclass(frozen=True)
class Section:
    """A titled table; the columns with numbers are aligned to the right. Text stands below it."""

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numeric: tuple[int, ...] = ()
    text: tuple[str, ...] = ()


def run_section(report: Report) -> Section:
    """Return the date and the cost: all that differs between two equal runs."""
    machine = host()
    return _facts(
        "Run",
        {
            "date": report.date,
            "host": f"{machine['system']} {machine['machine']}, {machine['cores']} cores",
            **{key: _cost(key, value) for key, value in report.cost.items()},
        },
    )


def subject_sections(report: Report) -> list[Section]:
    """Return what was measured, and on what."""
    return [part for part in (_facts("Subject", report.subject), _facts("Data", report.data)) if part.rows]


def result_sections(report: Report) -> list[Section]:
    """Return gates, comparison, figures and failures, where there are any."""
    parts = (gates_section(report), comparison_section(report), _figures(report), _failures(report))
    return [part for part in parts if part.rows or part.text]


def recipe_sections(report: Report) -> list[Section]:
    """Return the fields of each recipe."""
    return [_facts(f"Recipe {hash_[:12]}", fields) for hash_, fields in report.recipes.items()]


def reproduce_section(facts: Mapping[str, Any]) -> Section:
    """Return the command and the versions that reproduce the report, as report.json has them."""
    return _facts("Reproduce", facts)


def _facts(title: str, facts: Mapping[str, Any]) -> Section:
    rows = tuple((key.replace("_", " "), text(value)) for key, value in facts.items() if text(value))
    return Section(title, ("", ""), rows)


def _cost(name: str, value: float) -> str:
    if name.endswith("memory"):
        return f"{value / 2**20:.0f} MB"
    units = {"seconds": " s", "seconds_per_clip": " s", "energy": " J"}
    return f"{value:.3g}{units.get(name, '')}"


def text(value: Any) -> str:
    """Return a value of a record in a line."""
    if hasattr(value, "tolist"):  # an array, or a number of NumPy
        value = value.tolist()
    if value is None or (isinstance(value, str | list | tuple | Mapping) and not value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text(part)}" for key, part in value.items() if text(part))
    if isinstance(value, list | tuple):
        return "; ".join(map(text, value))
    return str(value)


def _without_empty(section: Section) -> Section:
    """Leave out columns without any value."""
    kept = [index for index in range(len(section.columns)) if any(row[index] for row in section.rows)]
    return replace(
        section,
        columns=tuple(section.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in section.rows),
        numeric=tuple(place for place, index in enumerate(kept) if index in section.numeric),
    )


def _figures(report: Report) -> Section:
    columns = ("figure", "value", "95 % interval", "clips", "windows", "goal", "better", "method", "recipe, embedder")
    rows = [(*_figure(metric), anchor_text(metric, report)) for metric in report.metrics]
    return _without_empty(Section("Figures", (*columns, "published"), tuple(rows), (1, 2, 3, 4, 5)))


def _figure(metric: Metric) -> tuple[str, ...]:
    goal = ""
    if metric.goal is not None:
        goal = f"{metric.bound} {figure(metric.goal, metric.unit)} {'reached' if metric.passed else 'missed'}"
    return (
        metric.name,
        figure(metric.value, metric.unit),
        interval(metric.interval, metric.unit),
        str(metric.count),
        str(metric.windows or ""),
        goal,
        BETTER[metric.direction].removesuffix(" is better"),
        metric.method,
        " ".join(part[:12] for part in (metric.recipe, metric.embedder) if part),
    )


def figure(value: float | None, unit: str) -> str:
    """Return a value with its unit, with three or more significant digits."""
    if value is None:
        return ""
    if not np.isfinite(value):
        return "not a number" if np.isnan(value) else "infinite" if value > 0 else "minus infinite"
    if unit == "%":
        return f"{100 * value:.1f} %"
    digits = f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    digits = digits.rstrip("0").rstrip(".") if float(value).is_integer() else digits
    return f"{digits} {unit}".rstrip()


def interval(edges: Interval | None, unit: str) -> str:
    """Return an interval as its edges."""
    if not edges:
        return ""
    low, high = (figure(edge, unit) for edge in edges)
    return f"{low.removesuffix(f' {unit}') if unit and high.endswith(unit) else low} … {high}"


def signed(value: float | None, unit: str) -> str:
    """Return a difference with its sign; of shares in percentage points."""
    if value is None:
        return ""
    if unit == "%":
        return f"{100 * value:+.1f} points"
    return f"{'+' if value > 0 else ''}{figure(value, unit)}"


def signed_interval(edges: Interval | None, unit: str) -> str:
    """Return the edges of a difference, the unit once."""
    if not edges:
        return ""
    low, high = (signed(edge, unit) for edge in edges)
    word = "points" if unit == "%" else unit
    return f"{low.removesuffix(f' {word}') if word and high.endswith(word) else low} … {high}"


def p_value(p: float | None) -> str:
    """Return a p-value; very small ones as a bound."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_section(report: Report) -> Section:
    """Return a row for each difference."""
    columns: tuple[str, ...] = (
        *("figure", "verdict", "difference", "95 % interval", "margin", "base", "value", "p", "p adjusted"),
        *("p (Wilcoxon)", "pairs", "method"),
    )
    rows: tuple[tuple[str, ...], ...] = tuple(_difference(item) for item in report.comparison)
    if any(item.subject for item in report.comparison):
        columns = ("subject", *columns)
        rows = tuple((item.subject, *row) for item, row in zip(report.comparison, rows, strict=True))
        return _without_empty(Section("Comparison", columns, rows, tuple(range(3, 12))))
    return _without_empty(Section("Comparison", columns, rows, tuple(range(2, 11))))


def _difference(item: Difference) -> tuple[str, ...]:
    unit = item.unit
    edges = signed_interval(item.interval, unit)
    margin = "" if item.margin is None else "±" + signed(item.margin, unit).lstrip("+")
    return (
        item.figure,
        item.verdict,
        signed(item.difference, unit),
        edges,
        margin,
        figure(item.base, unit),
        figure(item.value, unit),
        p_value(item.p),
        p_value(item.p_adjusted),
        p_value(item.p_check),
        str(item.count),
        item.method,
    )


def gates_section(report: Report) -> Section:
    """Return a row for each gate."""
    rows = tuple((gate.figure, gate.result, gate.condition, gate.found) for gate in report.gates)
    return Section("Gates", ("figure", "result", "condition", "found"), rows)


def _failures(report: Report) -> Section:
    total = len(report.clips)
    rows = tuple((name, str(n), f"{100 * n / total:.1f} %") for name, n in failure_counts(report).items())
    none = () if rows or not total else (f"None of {total} clips failed.",)
    return Section("Failures", ("failure", "clips", "share"), rows, (1, 2), none)


def lines(section: Section, without: Sequence[str] = ()) -> list[str]:
    """Return a table as aligned lines under its header, without some columns."""
    kept = [index for index, column in enumerate(section.columns) if column not in without]
    cells = [[row[index] for index in kept] for row in (section.columns, *section.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(kept))]
    return [
        "  ".join(
            cell.rjust(width) if kept[column] in section.numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def worst_first(report: Report) -> list[ClipRecord]:
    """Return the clips, failed ones first, then by their mean rank over figures that have a better direction."""
    directions = {metric.name: metric.direction for metric in report.metrics if metric.direction}
    ranks = np.zeros(len(report.clips))
    counts = np.zeros(len(report.clips))
    for name, direction in directions.items():
        values = np.array([clip.figures.get(name, np.nan) for clip in report.clips], float)
        found = np.flatnonzero(~np.isnan(values))
        if len(found):
            worst = values[found] if direction == "higher" else -values[found]
            _, places, sizes = np.unique(worst, return_inverse=True, return_counts=True)
            before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            ranks[found] += (before + (sizes - 1) / 2)[places] / len(found)
            counts[found] += 1
    mean = ranks / np.maximum(counts, 1)
    order = sorted(range(len(report.clips)), key=lambda i: (not report.clips[i].failures, mean[i], i))
    return [report.clips[i] for i in order]
