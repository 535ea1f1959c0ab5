"""Maximum mean discrepancy between sets of embeddings: KAD with a Gaussian kernel, KID with a polynomial one.

The unbiased estimate can be below 0 for equal sets; it is not clipped. Sources: Gretton et al. 2012; Chung et al. 2025
for KAD; Bińkowski et al. 2018 for KID.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundloom.evaluation.distances.frechet import DistanceError

KAD_SCALE = 100.0
SOFTENING = 1e-8  # of 2σ² in kadtk
BLOCK = 1 << 20  # values of a kernel matrix at once
MAX_ROWS = 20_000  # of a set; larger ones are subsampled
PERMUTATIONS = 1000

Floats = NDArray[np.float64]
Kernel = Literal["gaussian", "iq", "imq"]


def median_distance(rows: ArrayLike) -> float:
    """Return the median Euclidean distance between two of rows (n, d): the lower of two middle ones."""
    values = subsample(rows)
    distances = np.concatenate(
        [np.sqrt(_squares(values[i : i + 1], values[i + 1 :])[0]) for i in range(len(values) - 1)]
    )
    middle = (len(distances) - 1) // 2
    return float(np.partition(distances, middle)[middle])


def subsample(rows: ArrayLike, limit: int = MAX_ROWS) -> Floats:
    """Return at most `limit` of rows (n, d), spread evenly."""
    values = np.asarray(rows, np.float64)
    if len(values) < 2:
        raise DistanceError(f"a distance needs 2 embeddings or more, found {len(values)}", "measure more clips")
    return values if len(values) <= limit else values[np.linspace(0, len(values) - 1, limit).round().astype(int)]


def kernel_distance(
    reference: ArrayLike,
    generated: ArrayLike,
    bandwidth: float,
    kernel: Kernel = "gaussian",
    unbiased: bool = True,
    scale: float = KAD_SCALE,
) -> float:
    """Return `scale` times the squared MMD of embeddings (n, d) and (m, d); with the defaults, KAD.

    `bandwidth` is σ of exp(-d²/2σ²), in KAD the median distance within the reference, which makes values of several
    models comparable. "iq" and "imq" are the inverse quadratic and inverse multiquadric kernels.
    """
    x, y = subsample(reference), subsample(generated)
    within = sum(_mean(rows, rows, bandwidth, kernel, skip_diagonal=unbiased) for rows in (x, y))
    return scale * (within - 2 * _mean(x, y, bandwidth, kernel))


def _spans(a: Floats, b: Floats) -> Iterator[slice]:
    """Yield the spans of rows of `a` whose kernels with all of `b` are computed at once."""
    rows = max(1, BLOCK // len(b))
    return (slice(start, start + rows) for start in range(0, len(a), rows))


def _mean(a: Floats, b: Floats, bandwidth: float, kernel: Kernel, skip_diagonal: bool = False) -> float:
    total = 0.0
    for span in _spans(a, b):
        gram = _apply(_squares(a[span], b), bandwidth, kernel)
        if skip_diagonal:
            gram[np.arange(len(gram)), span.start + np.arange(len(gram))] = 0
        total += float(gram.sum())
    return total / (len(a) * (len(b) - skip_diagonal))


def _apply(squares: Floats, bandwidth: float, kernel: Kernel) -> Floats:
    scaled = squares / (2 * bandwidth**2 + SOFTENING)
    if kernel == "gaussian":
        return np.exp(-scaled)
    return 1 / (1 + scaled) if kernel == "iq" else 1 / np.sqrt(1 + scaled)


def gaussian(a: Floats, b: Floats, bandwidth: float) -> Floats:
    """Return the Gaussian kernels (n, m) of rows (n, d) and (m, d)."""
    return _apply(_squares(a, b), bandwidth, "gaussian")


def _squares(a: Floats, b: Floats) -> Floats:
    """Squared Euclidean distances (n, m)."""
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0)


def polynomial_distance(reference: ArrayLike, generated: ArrayLike, degree: int = 3) -> float:
    """Return the unbiased squared MMD with the kernel (x·y/d + 1)^degree; for degree 3, KID."""
    x, y = subsample(reference), subsample(generated)

    def mean(a: Floats, b: Floats, skip_diagonal: bool) -> float:
        total = sum(float(((a[span] @ b.T / a.shape[1] + 1) ** degree).sum()) for span in _spans(a, b))
        if not skip_diagonal:
            return total / (len(a) * len(b))
        diagonal = float((((a**2).sum(axis=1) / a.shape[1] + 1) ** degree).sum())
        return (total - diagonal) / (len(a) * (len(a) - 1))

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@dataclass(frozen=True)
class PermutationTest:
    """A distance, those under exchanged labels, and the share of them that are at least as large."""

    value: float
    permuted: Floats
    p: float


def permutation_test(
    reference: ArrayLike,
    generated: ArrayLike,
    bandwidth: float,
    permutations: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> PermutationTest:
    """Test whether KAD differs from 0 by exchanging labels; the bandwidth stays.

    `permutations` (p, n + m) order the rows of both sets, reference first; 1,000 are drawn by default. The value
    itself counts as one of them.
    """
    x, y = subsample(reference), subsample(generated)
    pooled = np.concatenate([x, y])
    if permutations is None:
        rng = np.random.Generator(np.random.Philox(key=seed))
        permutations = np.array([rng.permutation(len(pooled)) for _ in range(PERMUTATIONS)])
    gram = gaussian(pooled, pooled, bandwidth)
    np.fill_diagonal(gram, 0)
    value = _labeled(gram, np.arange(len(pooled)), len(x))
    permuted = np.array([_labeled(gram, order, len(x)) for order in permutations])
    return PermutationTest(value, permuted, float((1 + (permuted >= value).sum()) / (1 + len(permuted))))


def _labeled(gram: Floats, order: NDArray[np.integer], first: int) -> float:
    """KAD of a Gram matrix without its diagonal, where the first rows in an order are the reference."""
    n, m = first, len(order) - first
    label = np.zeros(len(order))
    label[order[:first]] = 1.0
    rows = gram @ label
    inside, cross = float(label @ rows), float((1 - label) @ rows)
    other = float(gram.sum()) - inside - 2 * cross
    return KAD_SCALE * (inside / (n * (n - 1)) + other / (m * (m - 1)) - 2 * cross / (n * m))


@dataclass(frozen=True)
class Jackknife:
    """A distance, and (clips,) what it is without each clip of the generated set, but for a constant.

    There are none of fewer than 3 clips, and of sets that are too large.
    """

    value: float
    without: Floats

    @property
    def standard_error(self) -> float:
        """The standard error over clips; NaN where it is unknown."""
        count = len(self.without)
        away = self.without - self.without.mean() if count else self.without
        return float(np.sqrt((count - 1) / count * (away**2).sum())) if count else float("nan")


def kernel_jackknife(
    reference: ArrayLike, generated: ArrayLike, bandwidth: float, clips: NDArray[np.integer]
) -> Jackknife:
    """Return KAD, also without each clip; `clips` (m,) are the numbers of the clips of generated rows."""
    x, y = subsample(reference), np.asarray(generated, np.float64)
    value = kernel_distance(x, y, bandwidth)
    count = int(clips.max()) + 1
    if count < 3 or len(y) > MAX_ROWS:
        return Jackknife(value, np.zeros(0))
    cross, within, own = (np.zeros(count) for _ in range(3))
    for span in _spans(y, y if len(y) > len(x) else x):
        rows, owners = y[span], clips[span]
        np.add.at(cross, owners, gaussian(rows, x, bandwidth).sum(axis=1))
        gram = gaussian(rows, y, bandwidth)
        gram[np.arange(len(rows)), span.start + np.arange(len(rows))] = 0
        np.add.at(within, owners, gram.sum(axis=1))
        np.add.at(own, owners, (gram * (owners[:, None] == clips)).sum(axis=1))
    left = len(y) - np.bincount(clips, minlength=count)
    without = KAD_SCALE * (
        (within.sum() - 2 * within + own) / (left * (left - 1)) - 2 * (cross.sum() - cross) / (left * len(x))
    )
    return Jackknife(value, without)


def mean_jackknife(found: Sequence[Jackknife]) -> Jackknife:
    """Return the mean of distances of sets whose clips have equal numbers, such as those of several seeds."""
    return Jackknife(float(np.mean([one.value for one in found])), np.mean([one.without for one in found], axis=0))
