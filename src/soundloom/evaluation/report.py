"""Figures with their intervals and goals, as lines of a table and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from soundloom.evaluation.statistics import Interval, bootstrap, wilson

MOST_DIGITS = 9  # beyond those that are shown anyway
HEADER = ("figure", "value", "95 % interval", "goal", "", "of")


@dataclass(frozen=True)
class Metric:
    """One figure; `count` is how many independent things it was seen in. Shares are 0 to 1."""

    name: str
    value: float
    count: int
    interval: Interval | None = None
    goal: float | None = None
    bound: Literal["at least", "at most"] = "at least"
    unit: str = ""

    @property
    def passed(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.bound == "at least" else self.value <= self.goal

    def record(self) -> dict[str, Any]:
        """Everything as values that JSON can hold."""
        return {**asdict(self), "passed": self.passed}


def share_metric(name: str, shares: Sequence[float], goal: float | None = None) -> Metric | None:
    """Mean of shares with Wilson's interval; None where there are none."""
    if not shares:
        return None
    mean = float(np.mean(shares))
    return Metric(name, mean, len(shares), wilson(mean, len(shares)), goal, unit="%")


def mean_metric(
    name: str,
    values: Sequence[float],
    unit: str,
    goal: float | None = None,
    bound: Literal["at least", "at most"] = "at most",
) -> Metric:
    """Mean of measured values, with an interval from resampling."""
    return Metric(name, float(np.mean(values)), len(values), bootstrap(values), goal, bound, unit)


def table(rows: Sequence[Metric]) -> list[str]:
    """Aligned lines under a header."""
    cells = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _cells(row: Metric) -> tuple[str, ...]:
    interval = " … ".join(_shown(edge, row.unit) for edge in row.interval) if row.interval else ""
    goal = f"{row.bound} {_shown(row.goal, row.unit)}" if row.goal is not None else ""
    verdict = {None: "", True: "reached", False: "missed"}[row.passed]
    return row.name, _shown_beside(row.value, row.goal, row.unit), interval, goal, verdict, str(row.count)


def _shown_beside(value: float, goal: float | None, unit: str) -> str:
    """Print enough digits to tell the value from its goal: 0.8996 is not shown as 0.90."""
    if goal is None or value == goal or not np.isfinite(value):
        return _shown(value, unit)
    digits = (_shown(value, unit, more) for more in range(MOST_DIGITS))
    return next((text for more, text in enumerate(digits) if text != _shown(goal, unit, more)), _shown(value, unit))


def _shown(value: float, unit: str, more: int = 0) -> str:
    return f"{100 * value:.{more}f} %" if unit == "%" else f"{value:.{2 + more}f} {unit}".rstrip()
