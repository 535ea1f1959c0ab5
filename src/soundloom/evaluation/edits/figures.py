"""Metrics of edits: means over sources, of which each counts once, however many edits it had."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.statistics.intervals import Interval, percentiles, resample_indices, wilson

Direction = Literal["higher", "lower", ""]
Bound = Literal["at least", "at most"]
Reduction = Callable[..., Any]  # np.mean or np.median


def group_values(
    values: Sequence[float], groups: Sequence[Hashable], reduce: Reduction = np.mean
) -> NDArray[np.float64]:
    """Return the mean, or another reduction, of the finite values of each group; groups without any are left out."""
    by_group: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if np.isfinite(value):
            by_group.setdefault(group, []).append(float(value))
    return np.array([reduce(each) for each in by_group.values()])


def grouped_metric(
    name: str,
    values: Sequence[float],
    groups: Sequence[Hashable],
    unit: str = "",
    direction: Direction = "",
    goal: float | None = None,
    bound: Bound = "at most",
    reduce: Reduction = np.mean,
    recipe: str = "",
    embedder: str = "",
    unit_of_groups: str = "sources",
) -> list[Metric]:
    """Return the mean, or another reduction, over groups with its interval, as a list that is empty without values."""
    means = group_values(values, groups, reduce)
    if not len(means):
        return []
    interval, method = group_interval(means, reduce, unit_of_groups)
    value = float(reduce(means))
    return [Metric(name, value, len(means), interval, goal, bound, unit, direction, method, recipe, embedder)]


def group_interval(
    means: NDArray[np.float64], reduce: Reduction = np.mean, unit: str = "sources"
) -> tuple[Interval | None, str]:
    """Return the interval of a reduction of the values of groups, and its method; none for one group."""
    if len(means) < 2:
        return None, ""
    return percentiles(reduce(means[resample_indices(len(means))], axis=1)), f"bootstrap over {unit}"


def share_metric(
    name: str,
    hits: Sequence[bool],
    groups: Sequence[Hashable],
    direction: Direction = "",
    goal: float | None = None,
    bound: Bound = "at least",
    unit_of_groups: str = "sources",
) -> list[Metric]:
    """Return a share of all values with Wilson's interval, as a list that is empty without values.

    The interval is that of as many trials as there are groups: edits of one source are not independent.
    """
    if not len(hits):
        return []
    share, count = float(np.mean(hits)), len(set(groups))
    method = f"Wilson over {unit_of_groups}"
    return [Metric(name, share, count, wilson(share, count), goal, bound, "%", direction, method)]
