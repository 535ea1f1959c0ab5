"""Tell whether seams can be found: a classifier guesses if the middle of an excerpt is a seam.

A logistic regression on six features is fitted to the excerpts of half of the clips and tested on the other half. The
area under its ROC curve is .5 where seams cannot be told from the same places of untouched clips, and 1 where all can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import RequestError
from soundloom.evaluation.edits.seams import HOP, WINDOW, flux_score, step_rank
from soundloom.evaluation.statistics.intervals import Interval

FEATURES = ("flux z-score", "step rank", "level step", "centroid step", "phase coherence drop", "stereo step")
EXCERPT = 1.0  # seconds
SIDE = 0.25  # seconds on each side whose level, centroid and stereo image are compared
RIDGE = 1.0  # penalty of standardized weights
LIMIT = 10.0  # of standardized features
ITERATIONS = 25
RESAMPLES = 2000
MIN_CLIPS = 4
FAINT = 1e-10  # power

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detectability:
    """The area under the ROC curve on the tested clips, its 95 % interval, and the weights (6,) of `FEATURES`.

    `edges` and `clips` are the numbers tested.
    """

    auc: float
    interval: Interval
    edges: int
    clips: int
    weights: tuple[float, ...]


def edge_features(audio: NDArray[np.floating], edge: int, rate: int) -> Floats:
    """Return the features (6,) of the excerpt of a second around an edge; NaN where it is too short for one.

    The rank r of the step is given as -log(1 - r), which spreads the largest.
    """
    half = round(EXCERPT * rate / 2)
    first = max(0, edge - half)
    excerpt = np.asarray(audio[:, first : edge + half], np.float64)
    edge -= first
    side = round(SIDE * rate)
    before, after = excerpt[:, max(0, edge - side) : edge], excerpt[:, edge : edge + side]
    if not (before.size and after.size):
        return np.full(len(FEATURES), np.nan)
    rank = -np.log1p(1 / 2048 - step_rank(excerpt, edge))
    level, centroid = (abs(measure(after, rate) - measure(before, rate)) for measure in (_level, _centroid))
    stereo = np.linalg.norm(_image(after) - _image(before))
    return np.array([flux_score(excerpt, edge, rate), rank, level, centroid, _coherence_drop(excerpt, edge), stereo])


def _level(audio: Floats, rate: int) -> float:
    """Return the power in dB."""
    return float(10 * np.log10(np.square(audio).mean() + FAINT))


def _centroid(audio: Floats, rate: int) -> float:
    """Return the center of mass of the spectrum, in octaves."""
    power = np.square(np.abs(np.fft.rfft(audio.mean(axis=0) * np.hanning(audio.shape[1])))) + FAINT
    bins = np.arange(len(power))
    return float(np.log2((bins * power).sum() / power.sum() + 1) - np.log2(audio.shape[1] / rate))


def _image(audio: Floats) -> Floats:
    """Return the stereo image: the covariance of the channels (c, c), with trace 1."""
    covariance = audio @ audio.T + FAINT * np.eye(len(audio))
    return np.asarray(covariance / np.trace(covariance))


def _coherence_drop(audio: Floats, edge: int) -> float:
    """Return how much worse phases continue across the edge than elsewhere, 0 to 2.

    Coherence is the cosine of the change of each bin's phase advance, weighted by magnitude.
    """
    mono, reach = audio.mean(axis=0), WINDOW + 2 * HOP
    if edge < reach or edge + reach > len(mono):
        return float("nan")
    offset = edge % HOP  # some window then begins at the edge
    frames = np.lib.stride_tricks.sliding_window_view(mono[offset:], WINDOW)[::HOP]
    spectra = np.fft.rfft(frames * np.hanning(WINDOW))
    phases = spectra[2:] * np.conj(spectra[1:-1]) ** 2 * spectra[:-2]
    magnitude = np.abs(phases)
    scale = np.sqrt(np.sqrt(magnitude))
    coherence = (scale * phases.real / np.maximum(magnitude, 1e-30)).sum(axis=1) / np.maximum(scale.sum(axis=1), 1e-15)
    place = (edge - offset) // HOP  # the frame that begins at the edge
    across = slice(place - WINDOW // HOP - 1, place)  # triples of frames of which one has the edge inside
    others = np.delete(coherence, np.arange(len(coherence))[across])
    if not others.size:
        return float("nan")
    return float(others.mean() - coherence[across].mean())


def measure_detectability(
    seams: Floats, shams: Floats, seam_clips: Sequence[int], sham_clips: Sequence[int], seed: int = 0
) -> Detectability:
    """Fit on the features (n, 6) of half of the clips and test on the others.

    `seam_clips` and `sham_clips` tell the clip of each edge: a clip is never on both sides. Raises RequestError for
    fewer than four clips.
    """
    clips = np.concatenate([np.asarray(seam_clips, int), np.asarray(sham_clips, int)])
    names = np.unique(clips)
    if len(names) < MIN_CLIPS or not (len(seams) and len(shams)):
        raise RequestError(
            f"detectability needs seams of {MIN_CLIPS} clips or more, found {len(names)}", "measure more sources"
        )
    rng = np.random.Generator(np.random.Philox(key=seed))
    trained = np.isin(clips, rng.permutation(names)[: len(names) // 2])
    features = np.concatenate([seams, shams])
    labels = np.repeat([1.0, 0.0], [len(seams), len(shams)])
    scaled = _standardized(features, trained)
    weights = fit_logistic(scaled[trained], labels[trained])
    tested = ~trained
    scores = scaled[tested] @ weights[1:]
    interval = _auc_interval(scores, labels[tested], clips[tested], rng)
    area = roc_area(scores[labels[tested] == 1], scores[labels[tested] == 0])
    count = len(np.unique(clips[tested]))
    return Detectability(area, interval, int(tested.sum()), count, tuple(weights[1:].tolist()))


def _standardized(features: Floats, trained: NDArray[np.bool_]) -> Floats:
    """Scale features (n, d) by the mean and deviation of the trained rows; those that do not exist become the mean."""
    known = np.isfinite(features)
    used = known & trained[:, None]
    count = np.maximum(used.sum(axis=0), 1)
    center = np.where(used, features, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(used, np.square(features - center), 0.0).sum(axis=0) / count)
    scaled = (features - center) / np.where(deviation > 1e-12, deviation, 1.0)
    return np.clip(np.where(known, scaled, 0.0), -LIMIT, LIMIT)


def fit_logistic(features: Floats, labels: Floats, ridge: float = RIDGE) -> Floats:
    """Return the weights (1 + d,), the constant first, of a logistic regression of labels 0 and 1 on features (n, d).

    The penalty `ridge` times half the sum of squared weights, without the constant, keeps separable data finite.
    """
    rows = np.column_stack([np.ones(len(features)), features])
    penalty = ridge * np.diag([1e-6, *np.ones(features.shape[1])])
    weights = np.zeros(rows.shape[1])
    for _ in range(ITERATIONS):  # Newton's method
        shares = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        gradient = rows.T @ (labels - shares) - penalty @ weights
        curvature = (rows * (shares * (1 - shares))[:, None]).T @ rows + penalty
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def roc_area(positive: Floats, negative: Floats) -> float:
    """Return the probability that a positive score exceeds a negative one; equal scores count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def _auc_interval(scores: Floats, labels: Floats, clips: NDArray[np.int_], rng: np.random.Generator) -> Interval:
    """Return the bootstrap interval over clips: all edges of a clip go together."""
    groups = [np.flatnonzero(clips == clip) for clip in np.unique(clips)]
    areas = []
    for draw in rng.integers(0, len(groups), (RESAMPLES, len(groups))):
        rows = np.concatenate([groups[i] for i in draw])
        positive = labels[rows] == 1
        if positive.any() and not positive.all():
            areas.append(roc_area(scores[rows][positive], scores[rows][~positive]))
    low, high = np.percentile(areas, (2.5, 97.5)) if areas else (0.0, 1.0)
    return float(low), float(high)
