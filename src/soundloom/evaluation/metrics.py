"""Metrics with intervals and goals, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from soundloom.evaluation.statistics.intervals import Interval, bootstrap, wilson

MAX_EXTRA_DIGITS = 9
HEADER = ("metric", "value", "95 % interval", "goal", "", "of")


@dataclass(frozen=True)
class Metric:
    """A measured value; `count` is the number of independent samples. Shares are 0 to 1.

    `direction` says whether higher or lower values are better; "" means neither. `recipe` and `embedder` are the
    first 12 characters of their hashes, where the value depends on them.
    """

    name: str
    value: float
    count: int
    interval: Interval | None = None
    goal: float | None = None
    bound: Literal["at least", "at most"] = "at least"
    unit: str = ""
    direction: Literal["higher", "lower", ""] = ""
    method: str = ""  # of the interval
    recipe: str = ""
    embedder: str = ""
    windows: int = 0  # that the clips were embedded in

    @property
    def passed(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.bound == "at least" else self.value <= self.goal

    def record(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {**asdict(self), "passed": self.passed}


def share_metrics(name: str, shares: Sequence[float], goal: float | None = None) -> list[Metric]:
    """Return the mean of shares with Wilson's interval, as a list that is empty without shares."""
    if not shares:
        return []
    mean = float(np.mean(shares))
    return [Metric(name, mean, len(shares), wilson(mean, len(shares)), goal, unit="%")]


def mean_metric(
    name: str,
    values: Sequence[float],
    unit: str,
    goal: float | None = None,
    bound: Literal["at least", "at most"] = "at most",
) -> Metric:
    """Return the mean of values with a bootstrap interval."""
    return Metric(name, float(np.mean(values)), len(values), bootstrap(values), goal, bound, unit)


def table(metrics: Sequence[Metric]) -> list[str]:
    """Format metrics as aligned lines under a header."""
    return aligned([HEADER, *map(_cells, metrics)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns of rows: the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in rows
    ]


def cells_of(metric: Metric) -> tuple[str, str]:
    """Return a metric's value and interval as text."""
    _, value, interval, *_ = _cells(metric)
    return value, interval


def _cells(metric: Metric) -> tuple[str, ...]:
    unit, goal = metric.unit, metric.goal
    interval = " … ".join(_format(edge, unit) for edge in metric.interval) if metric.interval else ""
    bound = f"{metric.bound} {_format_goal(goal, unit)}" if goal is not None else ""
    result = {None: "", True: "reached", False: "missed"}[metric.passed]
    return metric.name, _format_beside(metric.value, goal, unit), interval, bound, result, str(metric.count)


def _format_beside(value: float, goal: float | None, unit: str) -> str:
    """Format with enough digits to distinguish the value from its goal: 0.8996 is not shown as 0.90."""
    if goal is None or value == goal or not np.isfinite(value):
        return _format(value, unit)
    digits = (_format(value, unit, more) for more in range(MAX_EXTRA_DIGITS))
    return next((text for more, text in enumerate(digits) if text != _format(goal, unit, more)), _format(value, unit))


def _format_goal(goal: float, unit: str) -> str:
    """Format with enough digits that a small goal is not shown as 0."""
    digits = (_format(goal, unit, more) for more in range(MAX_EXTRA_DIGITS))
    return next((text for text in digits if not goal or text.strip(" %0." + unit)), _format(goal, unit))


def _format(value: float, unit: str, more: int = 0) -> str:
    """Format without the sign of numbers that are rounded to 0."""
    return f"{100 * value:z.{more}f} %" if unit == "%" else f"{value:z.{2 + more}f} {unit}".rstrip()
