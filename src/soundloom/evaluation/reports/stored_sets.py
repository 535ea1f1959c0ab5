"""Differences of set distances between two reports, from the embeddings that are stored beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.distances.frechet import Factor
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.pairs import Pairs
from soundloom.evaluation.reports.record import Difference, Report
from soundloom.evaluation.reports.set_differences import (
    MAX_KERNEL_ROWS,
    Rows,
    SetDifference,
    frechet_difference,
    kernel_difference,
    reference_moments_equal,
    resampling_p,
)
from soundloom.evaluation.sets.embeddings import ReferenceRows, StoredEmbeddings
from soundloom.evaluation.statistics.intervals import centered

MIN_PROMPTS = 8
NARROW = 0.90

Found = tuple[Metric, Difference]


@dataclass(frozen=True)
class _Sides:
    """The vectors of both sides whose clips are in pairs, numbered by prompt."""

    base: Rows
    other: Rows
    prompts: int


def set_differences(
    base: Report, stored: StoredEmbeddings, other: Report, partner: StoredEmbeddings, pairs: Pairs
) -> tuple[list[Found], list[str]]:
    """Return the differences of FAD and KAD from the embeddings of both reports, and notes.

    The metric is that of the base report. The values are those of the paired clips alone, so they can differ from the
    reports' figures where clips failed on one side.
    """
    embedder = stored.embedder
    names = {metric.name for metric in other.metrics}
    metrics = {
        figure: next((m for m in base.metrics if m.name.startswith(f"{figure}/{embedder}/") and m.name in names), None)
        for figure in ("fad", "kad")
    }
    if not any(metrics.values()):
        return [], []
    if not reference_moments_equal(stored.reference.moments, partner.reference.moments):
        return [], [f"{embedder}: the stored references differ, so their distances are not compared"]
    sides = _sides(pairs, _Side(base, stored), _Side(other, partner))
    if sides.prompts < MIN_PROMPTS:
        return [], [f"{embedder}: {sides.prompts} prompts are too few to compare distances"]
    notes: list[str] = []
    return _distances(metrics, stored.reference, sides, notes), notes


def _distances(
    metrics: Mapping[str, Metric | None], reference: ReferenceRows, sides: _Sides, notes: list[str]
) -> list[Found]:
    found = []
    if metric := metrics["fad"]:
        factor = Factor.of(reference.rows) if reference.rows is not None else Factor.of_moments(reference.moments)
        found.append(
            (metric, _difference(metric, frechet_difference(factor, sides.base, sides.other, sides.prompts), sides))
        )
    metric = metrics["kad"]
    if metric and reference.rows is not None and reference.bandwidth:
        part = _first_prompts(sides)
        if part.prompts < sides.prompts:
            notes.append(f"{metric.name}: compared on the first {part.prompts} of {sides.prompts} prompts")
        result = kernel_difference(reference.rows, reference.bandwidth, part.base, part.other, part.prompts)
        found.append((metric, _difference(metric, result, part, metric.value - result.base)))
    return found


def _difference(metric: Metric, result: SetDifference, sides: _Sides, constant: float = 0.0) -> Difference:
    """Return a difference with its intervals; `constant` is the part of both distances that was left out."""
    step = result.other - result.base
    return Difference(
        metric.name,
        result.base + constant,
        result.other + constant,
        step,
        sides.prompts,
        "undecided",
        interval=centered(step, result.resampled),
        narrow=centered(step, result.resampled, NARROW),
        p=resampling_p(step, result.resampled),
        unit=metric.unit,
        direction="lower",
        method="centered bootstrap over prompts",
    )


@dataclass(frozen=True)
class _Side:
    """A report and its embeddings."""

    report: Report
    stored: StoredEmbeddings

    def clip_indices(self) -> NDArray[np.int64]:
        """Return the index in the report of the clip of each row."""
        index = {clip.id: number for number, clip in enumerate(self.report.clips)}
        return np.array([index.get(id, -1) for id in self.stored.ids], np.int64)[self.stored.clips]


def _sides(pairs: Pairs, base: _Side, other: _Side) -> _Sides:
    """Return the rows of pairs that both sides have."""
    clips = [side.clip_indices() for side in (base, other)]
    both = np.isin(pairs.indices[:, 0], clips[0]) & np.isin(pairs.indices[:, 1], clips[1])
    used, groups = np.unique(pairs.groups[both], return_inverse=True)
    rows = [
        _rows(side.stored.rows, clips[index], pairs.indices[both, index], groups)
        for index, side in enumerate((base, other))
    ]
    return _Sides(rows[0], rows[1], len(used))


def _rows(
    vectors: NDArray[np.float64], owners: NDArray[np.int64], clips: NDArray[np.int64], groups: NDArray[np.int64]
) -> Rows:
    """Return the rows whose owners are among `clips`, numbered by the groups of these."""
    numbers = np.full(int(max(owners.max(initial=0), clips.max(initial=0))) + 2, -1)  # the last for owner -1
    numbers[clips] = groups
    found = numbers[owners]
    return Rows(vectors[found >= 0], found[found >= 0])


def _first_prompts(sides: _Sides) -> _Sides:
    """Return the first prompts whose rows a Gram matrix has room for."""
    counts = np.maximum(*(np.bincount(side.groups, minlength=sides.prompts) for side in (sides.base, sides.other)))
    kept = max(MIN_PROMPTS, int(np.searchsorted(counts.cumsum(), MAX_KERNEL_ROWS, "right")))
    if kept >= sides.prompts:
        return sides
    base, other = (
        Rows(side.vectors[side.groups < kept], side.groups[side.groups < kept]) for side in (sides.base, sides.other)
    )
    return _Sides(base, other, kept)
