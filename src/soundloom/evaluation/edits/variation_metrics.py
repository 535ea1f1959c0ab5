"""Vary sounds at several noise levels, and sum up what is kept of each and how closely it follows another caption.

Each sound is varied with the caption of the next one. The ends of the curves are the sound after the codec's round
trip, as level 0, and clips from the prompt alone, as level 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.mel import log_mel_difference
from soundloom.audio.resample import resample
from soundloom.config.stable_audio.request import MIN_NOISE
from soundloom.evaluation.clips import BATCH, generate_clips
from soundloom.evaluation.edits.embedding import SpanEmbedder
from soundloom.evaluation.edits.figures import Direction, group_interval, grouped_metric, share_metric
from soundloom.evaluation.edits.sources import Source
from soundloom.evaluation.edits.variation import half_level, kept_over_obeyed, level_correlation
from soundloom.evaluation.edits.variation_edits import (
    FIGURES,
    TARGET,
    Figures,
    SourceFeatures,
    Variation,
    target_vectors,
)
from soundloom.evaluation.embedders.base import TextEmbedder
from soundloom.evaluation.frontend import UNUSABLE, faults
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord, Curve
from soundloom.evaluation.sets.metrics import Names
from soundloom.evaluation.statistics.tests import sign_flip, tost
from soundloom.pipeline.stable_audio.model import Model

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
LEVEL_1_SHARE, SIGNIFICANT = 0.1, 0.05  # of what the codec keeps more than clips from the prompt
OBEYED = "obeyed"
LABELS = {
    "embedding": "cosine of embeddings",
    "chroma": "correlation of chroma",
    "onsets": "F-measure of onsets",
    "loudness": "correlation of loudness",
    OBEYED: "nearer to the prompt",
}

Log = Callable[[int, int], None]
Rows = NDArray[np.float64]
RoundTrips = Sequence[NDArray[np.float32] | None]


@dataclass(frozen=True)
class VariationMetrics:
    """What is reported of variations."""

    metrics: list[Metric]
    clips: list[ClipRecord]
    curves: list[Curve]
    notes: list[str]


@dataclass
class _Measured:
    """Figures of variations; `lowest` are log-mel differences at the lowest level from the codec's round trip."""

    figures: dict[Variation, Figures] = field(default_factory=dict)
    clips: list[ClipRecord] = field(default_factory=list)
    lowest: list[float] = field(default_factory=list)
    lowest_sources: list[int] = field(default_factory=list)

    def add(self, one: Variation, audio: NDArray[np.float32] | None, rate: int, source: SourceFeatures) -> None:
        failures = ("unusable",) if audio is None else tuple(sorted(UNUSABLE.intersection(faults(audio, rate))))
        if audio is not None and not failures:
            self.figures[one] = source.compare(audio, rate)
        self.clips.append(_record(one, self.figures.get(one, {}), source.before, failures))

    def compare_lowest(self, one: Variation, audio: NDArray[np.float32], rate: int, trip: NDArray[np.float32]) -> None:
        self.lowest.append(log_mel_difference(audio, trip, rate))
        self.lowest_sources.append(one.number)


def measure_variations(
    model: Model,
    sources: Sequence[Source],
    round_trips: RoundTrips,
    embed: SpanEmbedder,
    names: Names,
    seeds: Sequence[int],
    levels: Sequence[float] = LEVELS,
    steps: int | None = None,
    log: Log = lambda done, total: None,
    save: Callable[[str, int, NDArray[np.float32], int], None] = lambda name, seed, audio, rate: None,
) -> VariationMetrics:
    """Vary each source at each level with each seed, toward the caption of the next source."""
    targets = [*sources[1:], sources[0]]
    vectors = target_vectors(targets, embed)
    features = [SourceFeatures(source, embed, vector) for source, vector in zip(sources, vectors, strict=True)]
    planned = [
        Variation(number, source, targets[number], level, seed)
        for (number, source), level, seed in product(enumerate(sources), (MIN_NOISE, *levels, 1.0, None), seeds)
    ]
    measured = _Measured()
    for start in range(0, len(planned), BATCH):
        batch = planned[start : start + BATCH]
        for one, clip in zip(batch, generate_clips(model, [each.request(steps) for each in batch]), strict=True):
            rate, trip = one.source.rate, round_trips[one.number]
            audio = resample(clip.audio, clip.sample_rate, rate) if clip else None  # clips from prompts have another
            measured.add(one, audio, rate, features[one.number])
            if audio is not None:
                save(one.id, one.seed, audio, rate)
            if one.level == MIN_NOISE and audio is not None and trip is not None:
                measured.compare_lowest(one, audio, rate, trip)
        log(min(start + BATCH, len(planned)), len(planned))
    ends = [
        None if trip is None else one.compare(trip, source.rate)
        for one, source, trip in zip(features, sources, round_trips, strict=True)
    ]
    table = VariationTable.of(measured.figures, [one.before for one in features], ends, levels)
    return _summary(measured, table, names, isinstance(embed.embedder, TextEmbedder))


def _record(one: Variation, figures: Figures, before: float, failures: tuple[str, ...]) -> ClipRecord:
    end = {None: "/prompt", 1.0: "/1", MIN_NOISE: f"/{MIN_NOISE:g}"}.get(one.level, "")  # not part of the means
    found = {f"variation/kept_{name}{end}": figures[name] for name in FIGURES if name in figures}
    if TARGET in figures:
        found[f"variation/obeyed{end}"] = figures[TARGET] - before
    known = {name: value for name, value in found.items() if np.isfinite(value)}
    return ClipRecord(one.id, one.target.caption, one.seed, known, failures, source=one.source.id)


@dataclass(frozen=True)
class VariationTable:
    """Each figure (sources, 1 + levels + 1): of the codec's round trip, at each level, and from the prompt alone.

    Seeds are averaged. `full` (sources, 2) is what the embedding keeps at level 1 with a source, and from the prompt.
    """

    levels: tuple[float, ...]
    values: dict[str, Rows]
    full: Rows

    @classmethod
    def of(
        cls,
        figures: dict[Variation, Figures],
        before: Sequence[float],
        ends: Sequence[Figures | None],
        levels: Sequence[float],
    ) -> VariationTable:
        """Collect the figures; `before` are cosines of untouched sources with the target, `ends` of round trips."""

        def mean(name: str, number: int, level: float | None) -> float:
            found = [each[name] for one, each in figures.items() if (one.number, one.level) == (number, level)]
            known = [value for value in found if np.isfinite(value)]
            return float(np.mean(known)) if known else float("nan")

        values = {}
        for name in (*FIGURES, TARGET):
            rows = np.array(
                [
                    [(end or {}).get(name, float("nan")), *(mean(name, number, level) for level in (*levels, None))]
                    for number, end in enumerate(ends)
                ]
            )
            values[OBEYED if name == TARGET else name] = rows - np.array(before)[:, None] if name == TARGET else rows
        full = [[mean("embedding", number, level) for level in (1.0, None)] for number in range(len(ends))]
        return cls(tuple(levels), values, np.array(full))

    def complete(self, name: str) -> Rows:
        """Return the rows of a figure that have all levels."""
        rows = self.values[name]
        return rows[np.isfinite(rows).all(axis=1)]

    def areas(self, name: str) -> list[float]:
        """Return the area under kept over obeyed of each source that has both."""
        kept, obeyed = self.values[name], self.values[OBEYED]
        usable = np.isfinite(kept).all(axis=1) & np.isfinite(obeyed).all(axis=1)
        pairs = zip(kept[usable], obeyed[usable], strict=True)
        return [kept_over_obeyed(one.tolist(), other.tolist()) for one, other in pairs]


def _summary(measured: _Measured, table: VariationTable, names: Names, reads_text: bool) -> VariationMetrics:
    failed = [bool(clip.failures) for clip in measured.clips]
    sources = [clip.source for clip in measured.clips]
    metrics = share_metric("variation/failures", failed, sources, "lower", 0.0, "at most")
    metrics += grouped_metric("variation/lowest_level_log_mel", measured.lowest, measured.lowest_sources, "dB", "lower")
    notes = []
    if not reads_text:
        notes.append("variation/obeyed compares with the sound that the prompt describes: the embedder reads no text")
    for name in (*FIGURES, OBEYED):
        rows = table.complete(name)
        if len(rows):
            metrics += _figure_metrics(name, rows, table.levels, names)
        else:
            notes.append(f"variation/{_title(name)} was left out: no source has it at all levels")
    for name in FIGURES:
        metrics += _metric(names, f"variation/area_{name}", table.areas(name), "higher")
    full = table.full[np.isfinite(table.full).all(axis=1)]
    if len(full):
        differences = full[:, 0] - full[:, 1]
        ends = table.values["embedding"][:, [0, -1]]
        span = float(np.nanmean(ends[:, 0]) - np.nanmean(ends[:, 1])) if np.isfinite(ends).any(axis=0).all() else 0.0
        metrics += _metric(names, "variation/level_1_difference", differences)
        notes.append(_compare_level_1(differences, span))
    return VariationMetrics(metrics, measured.clips, _curves(table), notes)


def _compare_level_1(differences: Rows, span: float) -> str:
    """Say whether variations at level 1 keep as much of the source as clips from the prompt, which never heard it.

    `span` is what the codec's round trip keeps more than those.
    """
    margin, p = LEVEL_1_SHARE * max(span, 0.0), sign_flip(differences).p
    same = tost(differences.tolist(), margin).equivalent or not differences.any()
    found = "equivalent" if same else "different" if p < SIGNIFICANT else "undecided"
    pairs = f"{len(differences)} pairs, p = {p:.2g} by sign flips"
    return f"level 1 against the prompt alone: {found} within {margin:.2g} of kept_embedding ({pairs})"


def _figure_metrics(name: str, rows: Rows, levels: Sequence[float], names: Names) -> list[Metric]:
    inside, title = rows[:, 1:-1], f"variation/{_title(name)}"
    correlations = [level_correlation(levels, row.tolist()) for row in inside]
    metrics = [
        *_metric(names, title, inside.mean(axis=1), "higher"),
        *_metric(names, f"{title}/codec", rows[:, 0]),
        *_metric(names, f"{title}/prompt", rows[:, -1]),
        *_metric(names, f"variation/spearman_{name}", correlations, "higher" if name == OBEYED else "lower"),
    ]
    if name == OBEYED:
        return metrics
    means = rows.mean(axis=0).tolist()
    half = half_level(levels, means[1:-1], means[0], means[-1])
    return metrics + _metric(names, f"variation/half_level_{name}", [half])


def _metric(names: Names, name: str, values: Sequence[float] | Rows, direction: Direction = "") -> list[Metric]:
    known = np.asarray(values, np.float64)
    if not len(known) or not np.isfinite(known).all():
        return []
    interval, method = group_interval(known)
    is_embedded = any(part in name for part in ("embedding", OBEYED, "area", "level_1"))
    hashes = (names.recipe_hash[:12], names.embedder_hash[:12]) if is_embedded else ("", "")
    value, count = float(known.mean()), len(known)
    return [Metric(name, value, count, interval, None, "at most", "", direction, method, *hashes)]


def _title(name: str) -> str:
    return name if name == OBEYED else f"kept_{name}"


def _curves(table: VariationTable) -> list[Curve]:
    """Return each figure over the noise level, and what is kept over what is obeyed."""
    found = []
    for name in (*FIGURES, OBEYED):
        rows = table.complete(name)
        if len(rows) < 2:
            continue
        intervals = [interval for column in rows.T if (interval := group_interval(column)[0])]
        levels, y = (0.0, *table.levels, 1.0), tuple(rows.mean(axis=0).tolist())
        found.append(Curve(f"{name} over noise", "noise level", LABELS[name], levels, y, tuple(intervals)))
    kept, obeyed = table.complete("embedding"), table.complete(OBEYED)
    if len(kept) and len(obeyed):
        x, y = (tuple(rows.mean(axis=0).tolist()) for rows in (obeyed, kept))
        labels = ("codec", *(f"{level:g}" for level in table.levels), "prompt")
        found.append(Curve("kept over obeyed", LABELS[OBEYED], LABELS["embedding"], x, y, labels=labels))
    return found
