"""Differences of set distances between two reports, from the embeddings that are stored beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.distances.frechet import Factor
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.embeddings import StoredEmbeddings, StoredReference
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
    base: Report,
    base_embeddings: Mapping[str, StoredEmbeddings],
    other: Report,
    other_embeddings: Mapping[str, StoredEmbeddings],
    pairs: Pairs,
) -> tuple[list[Found], list[str]]:
    """Return the differences of FAD and KAD for each embedder that both reports have stored, and notes.

    The metric is that of the base report. The values are those of the paired clips alone, so they can differ from the
    reports' figures where clips failed on one side.
    """
    found: list[Found] = []
    notes: list[str] = []
    names = {metric.name for metric in other.metrics}
    for embedder, stored in base_embeddings.items():
        metrics = {
            figure: next((m for m in base.metrics if m.name.startswith(f"{figure}/{embedder}/")), None)
            for figure in ("fad", "kad")
        }
        partner = other_embeddings.get(embedder)
        if partner is None or not any(metric and metric.name in names for metric in metrics.values()):
            continue
        if not reference_moments_equal(stored.reference.moments, partner.reference.moments):
            notes.append(f"{embedder}: the stored references differ, so their distances are not compared")
            continue
        sides = _sides(pairs, stored, partner)
        if sides.prompts < MIN_PROMPTS:
            notes.append(f"{embedder}: {sides.prompts} prompts are too few to compare distances")
            continue
        found += _distances(metrics, stored.reference, sides, notes)
    return found, notes


def _distances(
    metrics: Mapping[str, Metric | None], reference: StoredReference, sides: _Sides, notes: list[str]
) -> list[Found]:
    found = []
    if metric := metrics["fad"]:
        factor = Factor.of(reference.vectors) if reference.vectors is not None else Factor.of_moments(reference.moments)
        found.append(
            (metric, _difference(metric, frechet_difference(factor, sides.base, sides.other, sides.prompts), sides))
        )
    metric = metrics["kad"]
    if metric and reference.vectors is not None and reference.bandwidth:
        part = _first_prompts(sides)
        if part.prompts < sides.prompts:
            notes.append(f"{metric.name}: compared on the first {part.prompts} of {sides.prompts} prompts")
        rows = np.asarray(reference.vectors, np.float64)
        result = kernel_difference(rows, reference.bandwidth, part.base, part.other, part.prompts)
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


def _sides(pairs: Pairs, base: StoredEmbeddings, other: StoredEmbeddings) -> _Sides:
    """Return the vectors of pairs that both sides have."""
    has = [np.unique(side.clips) for side in (base, other)]
    both = np.isin(pairs.indices[:, 0], has[0]) & np.isin(pairs.indices[:, 1], has[1])
    used, groups = np.unique(pairs.groups[both], return_inverse=True) if both.any() else (np.zeros(0), np.zeros(0))
    rows = [
        _rows(side, pairs.indices[both, index], np.asarray(groups, np.int64))
        for index, side in enumerate((base, other))
    ]
    return _Sides(rows[0], rows[1], len(used))


def _rows(stored: StoredEmbeddings, clips: NDArray[np.int64], groups: NDArray[np.int64]) -> Rows:
    numbers = np.full(int(max(stored.clips.max(initial=0), clips.max(initial=0))) + 1, -1)
    numbers[clips] = groups
    found = numbers[stored.clips]
    return Rows(stored.vectors[found >= 0].astype(np.float64), found[found >= 0])


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
