"""Distances between a set of sounds and a reference, with intervals and the bias of their sample sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import RequestError
from soundloom.evaluation.distances.frechet import MIN_SIZE, Extrapolation, Factor, extrapolate
from soundloom.evaluation.distances.kernel import (
    MAX_ROWS,
    kernel_jackknife,
    median_distance,
    polynomial_distance,
    subsample,
)
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.distances.neighbors import NEIGHBORS, neighbors
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.statistics.intervals import centered, members, resample_indices

RESAMPLES = 200
WIDE, WIDE_RESAMPLES = 128, 100  # fewer resamples for more dimensions, whose distances take longer
BIAS_DRAWS = 3
BIASED = 0.5  # share of a distance that its bias may be before a warning
MAX_COMPARED = 5000  # rows of each set for neighbors and KID
MAX_BANDWIDTH_ROWS = 2000  # rows of the reference for the bandwidth of KAD

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceRows:
    """What distances need of a reference: moments, the bandwidth of the kernel, and rows (n, d) if they are at hand."""

    moments: Moments
    bandwidth: float
    rows: Floats | None = None


def reference_rows(rows: Floats) -> ReferenceRows:
    """Return the reference of rows (n, d), with the bandwidth of its kernel distance."""
    return ReferenceRows(Moments.of(rows), median_distance(subsample(rows, MAX_BANDWIDTH_ROWS)), rows)


def factor_of(reference: ReferenceRows) -> Factor:
    """Return a reference as Fréchet distances read it."""
    return Factor.of(reference.rows) if reference.rows is not None else Factor.of_moments(reference.moments)


@dataclass(frozen=True)
class Names:
    """How metrics are named, and the hashes beside them."""

    embedder: str
    recipe: str
    recipe_hash: str = ""
    embedder_hash: str = ""

    def metric(self, figure: str, value: float, clips: int, windows: int = 0, **more: object) -> Metric:
        """Return a metric called `figure/embedder/recipe`."""
        name = f"{figure}/{self.embedder}/{self.recipe}"
        hashes = {"recipe": self.recipe_hash[:12], "embedder": self.embedder_hash[:12]}
        return Metric(name, value, clips, windows=windows, **hashes, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SetMetrics:
    """Metrics of a set, its extrapolation if there were enough clips, and what to keep in mind about them."""

    metrics: list[Metric]
    extrapolation: Extrapolation | None
    warnings: tuple[str, ...]


def set_metrics(
    reference: ReferenceRows,
    rows: Floats,
    clips: NDArray[np.int64],
    names: Names,
    allow_small: bool = False,
    prompts: NDArray[np.int64] | None = None,
) -> SetMetrics:
    """Measure generated rows (m, d) whose clips are numbered by `clips` (m,).

    Intervals are over clips or, for clips of several seeds, over the prompts that `prompts` (m,) number: seeds of a
    prompt are not independent. Raises RequestError for fewer clips than twice the effective
    rank of the reference, unless `allow_small`.
    """
    count = int(clips.max()) + 1 if len(clips) else 0
    require_enough(count, reference.moments, allow_small)
    if count < 2 or len(rows) < 2:
        raise RequestError(f"a distance between sets needs 2 usable clips or more, found {count}")
    factor = factor_of(reference)
    value = factor.distance(Factor.of(rows))
    bias = sampling_bias(reference.moments, count)
    groups = _Groups("clips", clips) if prompts is None else _Groups.of_prompts(prompts)
    metrics = [_frechet(names, factor, rows, count, groups, value), names.metric("fad_bias", bias, count, len(rows))]
    line = extrapolate(factor, rows, clips) if count >= 2 * MIN_SIZE else None
    if line:
        metrics.append(names.metric("fad_inf", line.intercept, count, len(rows), direction="lower"))
    metrics += _kernels(names, reference, rows, count, groups)
    metrics += _neighbors(names, reference, rows, count)
    warnings = [_bias_warning(bias, value, count)] if bias > BIASED * value else []
    return SetMetrics(metrics, line, (*warnings, *_subsample_warnings(reference, rows)))


@dataclass(frozen=True)
class _Groups:
    """What intervals resample, and its number for each row."""

    unit: str
    numbers: NDArray[np.int64]

    @classmethod
    def of_prompts(cls, prompts: NDArray[np.int64]) -> _Groups:
        """Number the prompts that have rows without gaps."""
        return cls("prompts", np.unique(prompts, return_inverse=True)[1])


def _subsample_warnings(reference: ReferenceRows, rows: Floats) -> list[str]:
    largest = max(len(rows), len(reference.rows)) if reference.rows is not None else 0
    limits = [("KAD", MAX_ROWS)] if largest > MAX_ROWS else []
    limits += [("KID, density and coverage", MAX_COMPARED)] if largest > MAX_COMPARED else []
    return [f"{figures}: of {limit} of a set's embeddings, spread evenly" for figures, limit in limits]


def _bias_warning(bias: float, value: float, count: int) -> str:
    share = f"{bias / value:.0%}" if bias < value else "all"
    return f"{share} of the Fréchet distance can be the bias of {count} clips: use KAD, or measure more clips"


def require_enough(count: int, reference: Moments, allow_small: bool) -> None:
    """Raise RequestError for fewer clips than a Fréchet distance to this reference needs."""
    needed = int(np.ceil(2 * reference.effective_rank))
    if count < needed and not allow_small:
        raise RequestError(
            f"a Fréchet distance to this reference needs {needed} usable clips or more, found {count}: "
            "with fewer it is mostly bias",
            "generate more clips, or pass --allow-small",
        )


def sampling_bias(reference: Moments, count: int) -> float:
    """Estimate the Fréchet distance of `count` independent clips of a perfect model, from Gaussian draws."""
    rng = np.random.Generator(np.random.Philox(key=0))
    factor = Factor.of_moments(reference)
    draws = (rng.standard_normal((count, len(factor.factor))) @ factor.factor + factor.mean for _ in range(BIAS_DRAWS))
    return float(np.mean([factor.distance(Factor.of(rows)) for rows in draws])) if count > 1 else float("nan")


def _frechet(names: Names, factor: Factor, rows: Floats, count: int, groups: _Groups, value: float) -> Metric:
    resampled = resampled_distances(factor.distance, rows, groups.numbers)
    interval = centered(value, resampled) if len(resampled) else None
    method = f"centered bootstrap over {groups.unit}" if interval else ""
    return names.metric("fad", value, count, len(rows), interval=interval, method=method, direction="lower")


def resampled_distances(
    distance: Callable[[Factor], float], rows: Floats, groups: NDArray[np.int64], seed: int = 0
) -> Floats:
    """Return distances of sets of whole groups of rows, such as clips, that are drawn with replacement."""
    parts = members(groups)
    count = len(parts)
    if count < 3:
        return np.zeros(0)
    resamples = RESAMPLES if rows.shape[1] <= WIDE else WIDE_RESAMPLES
    draws = resample_indices(count, resamples, seed)
    return np.array([distance(Factor.of(rows[np.concatenate([parts[i] for i in drawn])])) for drawn in draws])


def _kernels(names: Names, reference: ReferenceRows, rows: Floats, count: int, groups: _Groups) -> list[Metric]:
    """KAD and KID; both need the rows of the reference."""
    if reference.rows is None:
        return []
    found = kernel_jackknife(reference.rows, rows, reference.bandwidth, groups.numbers)
    reach = 1.96 * found.standard_error
    interval = (found.value - reach, found.value + reach) if np.isfinite(reach) else None
    method = f"jackknife over {groups.unit}" if interval else ""
    kid = polynomial_distance(subsample(reference.rows, MAX_COMPARED), subsample(rows, MAX_COMPARED))
    return [
        names.metric("kad", found.value, count, len(rows), interval=interval, method=method, direction="lower"),
        names.metric("kid", kid, count, len(rows), direction="lower"),
    ]


def _neighbors(names: Names, reference: ReferenceRows, rows: Floats, count: int) -> list[Metric]:
    """Density and the like, with equally many rows on both sides."""
    if reference.rows is None:
        return []
    size = min(len(reference.rows), len(rows), MAX_COMPARED)
    if size <= NEIGHBORS:
        return []
    found = neighbors(subsample(reference.rows, size), subsample(rows, size))
    shares = {"precision": found.precision, "recall": found.recall, "coverage": found.coverage}
    return [
        names.metric("density", found.density, count, size, direction="higher"),
        *(names.metric(name, value, count, size, unit="%", direction="higher") for name, value in shares.items()),
    ]
