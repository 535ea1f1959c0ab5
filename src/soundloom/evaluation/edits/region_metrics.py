"""Sum up edits of regions: what was kept, seams, distances of regions by their length, and context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from soundloom.diffusion.inpainting import blend
from soundloom.errors import RequestError
from soundloom.evaluation.distances.frechet import Factor
from soundloom.evaluation.distances.kernel import Jackknife, kernel_jackknife, mean_jackknife, median_distance
from soundloom.evaluation.edits.detectability import measure_detectability
from soundloom.evaluation.edits.embedding import SpanEmbedder, Vectors
from soundloom.evaluation.edits.figures import Direction, grouped_metric, share_metric
from soundloom.evaluation.edits.kept import Span
from soundloom.evaluation.edits.region_edits import CROSSFADE, EditResult, RegionEdit, measure_edit
from soundloom.evaluation.edits.regions import context_score, context_spans, region_windows
from soundloom.evaluation.edits.sources import Source
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord, Curve
from soundloom.evaluation.sets.metrics import Names
from soundloom.evaluation.statistics.intervals import centered, resample_indices

BEYOND = 0.999  # rank of a step that counts as a seam
MAX_BEYOND, MAX_FLUX, MAX_STEP, MAX_AUC = 0.01, 2.0, 3.0, 0.65  # gates
LARGEST_SNR = 100.0  # dB, of regions equal to their source
RESAMPLES = 200
MIN_ROWS = 3

Place = tuple[int, Span]  # number of a source, and samples of it


@dataclass(frozen=True)
class RegionVectors:
    """Vectors (n, d) of the windows of a region, and of the region as a whole (d,), None for silence."""

    windows: Vectors
    whole: Vectors | None


@dataclass
class RegionEmbeddings:
    """Embeds regions of edits, and once each those of sources, of their round trip through the codec, and context."""

    embed: SpanEmbedder
    sources: Sequence[Source]
    round_trips: Sequence[NDArray[np.float32] | None]
    _real: dict[Place, RegionVectors] = field(default_factory=dict)
    _codec: dict[Place, RegionVectors] = field(default_factory=dict)
    _context: dict[Place, Vectors | None] = field(default_factory=dict)

    def of(self, audio: NDArray, rate: int, span: Span) -> RegionVectors:
        windows = region_windows(audio.shape[1], self.embed.window(rate), span)
        return RegionVectors(self.embed.spans(audio, rate, windows), self.embed.mean(audio, rate, [span]))

    def real(self, place: Place) -> RegionVectors:
        if place not in self._real:
            source = self.sources[place[0]]
            self._real[place] = self.of(source.audio, source.rate, place[1])
        return self._real[place]

    def codec(self, place: Place) -> RegionVectors | None:
        """Return the vectors of a source with its round trip in the region alone, as an edit has it."""
        audio = self.round_trips[place[0]]
        if audio is None:
            return None
        if place not in self._codec:
            source = self.sources[place[0]]
            self._codec[place] = self.of(splice(source, audio, place[1]), source.rate, place[1])
        return self._codec[place]

    def foreign(self, place: Place) -> Vectors | None:
        """Return the vector of the same place, in seconds, of the next sound that is long enough and not silent there.

        None without such a sound.
        """
        number, span = place
        start, end = (edge / self.sources[number].rate for edge in span)
        for step in range(1, len(self.sources)):
            other = (number + step) % len(self.sources)
            rate = self.sources[other].rate
            found = round(start * rate), round(end * rate)
            if found[1] <= self.sources[other].samples:
                whole = self.real((other, found)).whole
                if whole is not None:
                    return whole
        return None

    def context(self, place: Place) -> Vectors | None:
        if place not in self._context:
            source = self.sources[place[0]]
            spans = context_spans(source.samples, source.rate, place[1])
            self._context[place] = self.embed.mean(source.audio, source.rate, spans)
        return self._context[place]


@dataclass(frozen=True)
class RegionMetrics:
    """What is reported of edits of regions."""

    metrics: list[Metric]
    clips: list[ClipRecord]
    curves: list[Curve]
    notes: list[str]


def measure_regions(
    results: Iterable[EditResult],
    vectors: RegionEmbeddings,
    names: Names,
    save: Callable[[str, int, NDArray[np.float32], int], None] = lambda name, seed, audio, rate: None,
) -> RegionMetrics:
    """Measure edits; the audio of each is saved and dropped as soon as it is embedded."""
    found: list[EditResult] = []
    embedded: list[tuple[RegionEdit, RegionVectors]] = []
    for result in results:
        if result.audio is not None:
            edit = result.edit
            embedded.append((edit, vectors.of(result.audio, edit.source.rate, edit.span)))
            save(edit.id, edit.seed, result.audio, edit.source.rate)
        found.append(replace(result, audio=None))
    notes: list[str] = []
    metrics = [*kept_metrics(found), *seam_metrics(found, notes)]
    edits = [one.edit for one in found]
    metrics += seam_metrics(list(spliced_round_trips(edits, vectors.round_trips)), [], "codec/")
    curves = []
    for kind in ("region", "continuation"):
        chosen = [(edit, one) for edit, one in embedded if edit.kind == kind]
        rows, lines = _by_gap(kind, chosen, vectors, names, notes)
        metrics += rows
        curves += lines
    return RegionMetrics(metrics, [_record(result) for result in found], curves, notes)


def splice(source: Source, audio: NDArray[np.float32], span: Span) -> NDArray[np.float32]:
    """Return a source with other audio of its length in a region, crossfaded as edits are."""
    return blend(source.audio, 0, audio, [span], round(CROSSFADE * source.rate))


def spliced_round_trips(
    edits: Sequence[RegionEdit], round_trips: Sequence[NDArray[np.float32] | None]
) -> Iterator[EditResult]:
    """Measure each place once with the source's round trip through the codec in the region: no edit can do better."""
    for edit in {(one.number, one.span): one for one in edits}.values():
        audio = round_trips[edit.number]
        if audio is not None:
            yield replace(measure_edit(edit, splice(edit.source, audio, edit.span)), audio=None)


def kept_metrics(results: Sequence[EditResult]) -> list[Metric]:
    """Return the metrics of what edits kept, and of edits that failed."""
    measured = [result for result in results if result.kept is not None]
    changed = [float(result.kept.changed_samples) for result in measured if result.kept]
    largest = [result.kept.largest_difference for result in measured if result.kept]
    everything = [one.edit.number for one in results]
    metrics = share_metric(
        "edit/failures", [bool(one.failures) for one in results], everything, "lower", 0.0, "at most"
    )
    if measured:
        metrics += [
            Metric("edit/changed_samples", sum(changed), len(changed), None, 0.0, "at most", direction="lower"),
            Metric("edit/largest_difference", max(largest), len(largest), None, 0.0, "at most", direction="lower"),
        ]
    found = [(one.edit, one.honored) for one in results if one.honored is not None]
    honored = [one.is_within(round(CROSSFADE * edit.source.rate)) for edit, one in found]
    metrics += share_metric("edit/honored", honored, [edit.number for edit, _ in found], "higher", 1.0)
    snr = [min(max(one.kept.region_snr, -LARGEST_SNR), LARGEST_SNR) for one in measured if one.kept]
    groups = [one.edit.number for one in measured]
    metrics += share_metric("edit/edited", [one.kept.is_edited for one in measured if one.kept], groups, "higher")
    return metrics + grouped_metric("edit/region_snr", snr, groups, "dB", reduce=np.median)


def seam_metrics(results: Sequence[EditResult], notes: list[str], prefix: str = "") -> list[Metric]:
    """Return the metrics of seams, with goals unless they have a prefix; `notes` gets what could not be measured."""
    seams = [(one.edit.number, seam) for one in results for seam in one.seams]
    if not seams:
        return []
    groups = [number for number, _ in seams]
    ranks = [(number, seam.rank > BEYOND) for number, seam in seams if np.isfinite(seam.rank)]
    flux, steps = [abs(seam.flux) for _, seam in seams], [abs(seam.loudness) for _, seam in seams]
    within = [(number, step <= MAX_STEP) for number, step in zip(groups, steps, strict=True) if np.isfinite(step)]
    metrics = [
        *_share("seam/rank_beyond", ranks, "lower", MAX_BEYOND),
        *grouped_metric("seam/flux", flux, groups, "", "lower", MAX_FLUX, reduce=np.median),
        *grouped_metric("seam/loudness_step", steps, groups, "LU", "lower", MAX_STEP, reduce=np.median),
        *_share("seam/loudness_within_3", within, "higher"),
        *_detectability(results, notes),
    ]
    return [replace(one, name=f"{prefix}{one.name}", goal=None) for one in metrics] if prefix else metrics


def _share(
    name: str, found: Sequence[tuple[int, bool]], direction: Direction, goal: float | None = None
) -> list[Metric]:
    """Return a share of hits, each with the number of its source."""
    numbers, hits = [number for number, _ in found], [hit for _, hit in found]
    return share_metric(name, hits, numbers, direction, goal, "at most")


def _detectability(results: Sequence[EditResult], notes: list[str]) -> list[Metric]:
    numbers = [one.edit.number for one in results for _ in one.features]
    features, shams = (np.concatenate([getattr(one, name) for one in results]) for name in ("features", "shams"))
    try:
        found = measure_detectability(features, shams, numbers, numbers)
    except RequestError as error:
        notes.append(f"seam/detectability was left out: {error.args[0]}")
        return []
    area, upper = found.auc, found.interval[1]
    method = "bootstrap over sources, half of which were tested"
    return [
        Metric("seam/detectability", area, found.clips, found.interval, direction="lower", method=method),
        Metric("seam/detectability_upper", upper, found.clips, None, MAX_AUC, "at most", direction="lower"),
    ]


def _by_gap(
    kind: str,
    embedded: Sequence[tuple[RegionEdit, RegionVectors]],
    vectors: RegionEmbeddings,
    names: Names,
    notes: list[str],
) -> tuple[list[Metric], list[Curve]]:
    metrics, points = [], []
    for gap in sorted({edit.gap for edit, _ in embedded}):
        chosen = [(edit, one) for edit, one in embedded if edit.gap == gap]
        label = f"{kind}/{{}}/{gap:g}s"
        distances = distance_metrics(label, chosen, vectors, names)
        if not distances:
            notes.append(
                f"distances of {kind}s of {gap:g} s were left out: fewer than {MIN_ROWS} sources are not silent"
            )
        metrics += [*distances, *_context_metrics(label, chosen, vectors, names, notes)]
        points += [
            (gap, metric) for metric in distances if metric.name.startswith(f"{kind}/kad/{gap:g}s/{names.embedder}")
        ]
    if len(points) < 2:
        return metrics, []
    x, found = zip(*points, strict=True)
    y = tuple(metric.value for metric in found)
    intervals = tuple(metric.interval for metric in found if metric.interval)
    curve = Curve(f"{kind}/kad over length", "seconds", "KAD", x, y, intervals if len(intervals) == len(y) else ())
    return metrics, [curve]


def distance_metrics(
    label: str, embedded: Sequence[tuple[RegionEdit, RegionVectors]], vectors: RegionEmbeddings, names: Names
) -> list[Metric]:
    """Compare regions with the real ones at the same places, and so the real ones after the codec's round trip.

    Distances are of one seed at a time. So Fréchet distances of all have equally many windows and the same bias, and
    KAD does not count that seeds of one region are alike, of which the real ones have no counterpart.
    """
    places = list(dict.fromkeys((edit.number, edit.span) for edit, _ in embedded))
    real = {place: vectors.real(place).windows for place in places}
    sides = {
        "": [
            {(edit.number, edit.span): one.windows for edit, one in embedded if edit.seed == seed}
            for seed in sorted({edit.seed for edit, _ in embedded})
        ]
    }
    sides["codec "] = [{place: one.windows for place in places if (one := vectors.codec(place)) is not None}]
    sides = {prefix: runs for prefix, runs in sides.items() if any(runs)}
    usable = [
        place
        for place in places
        if len(real[place]) and all(len(run.get(place, ())) for runs in sides.values() for run in runs)
    ]
    sources = sorted({number for number, _ in usable})
    if len(sources) < MIN_ROWS:
        return []
    metrics = []
    for prefix, runs in sides.items():
        rows = _Rows(usable, sources, real, runs)
        figures = {"fad": rows.frechet(), "kad": rows.kernel()}
        for figure, (value, interval, method) in figures.items():
            name = f"{prefix}{label.format(figure)}".replace("codec ", "codec/")
            metrics.append(
                names.metric(name, value, len(sources), rows.count, interval=interval, method=method, direction="lower")
            )
    return metrics


Figure = tuple[float, tuple[float, float] | None, str]


class _Rows:
    """Rows of real regions and of edited ones, by source."""

    def __init__(
        self,
        places: Sequence[Place],
        sources: Sequence[int],
        real: dict[Place, Vectors],
        runs: Sequence[dict[Place, Vectors]],
    ) -> None:
        self.sources = sources
        self.real = [np.concatenate([real[place] for place in places if place[0] == number]) for number in sources]
        self.runs = [
            [np.concatenate([run[place] for place in places if place[0] == number]) for number in sources]
            for run in runs
        ]
        self.count = sum(len(rows) for run in self.runs for rows in run)

    def frechet(self) -> Figure:
        reference = Factor.of(np.concatenate(self.real))

        def distance(drawn: Sequence[int] | NDArray[np.integer]) -> float:
            return float(
                np.mean([reference.distance(Factor.of(np.concatenate([run[i] for i in drawn]))) for run in self.runs])
            )

        count = len(self.sources)
        value = distance(range(count))
        resampled = [distance(drawn) for drawn in resample_indices(count, RESAMPLES)]
        return value, centered(value, resampled), "centered bootstrap over sources"

    def kernel(self) -> Figure:
        reference = np.concatenate(self.real)
        bandwidth = median_distance(reference)

        def of_run(run: Sequence[Vectors]) -> Jackknife:
            owners = np.repeat(np.arange(len(run)), [len(rows) for rows in run])
            return kernel_jackknife(reference, np.concatenate(run), bandwidth, owners)

        found = mean_jackknife([of_run(run) for run in self.runs])
        reach = 1.96 * found.standard_error
        interval = (found.value - reach, found.value + reach) if np.isfinite(reach) else None
        return found.value, interval, "jackknife over sources" if interval else ""


def _context_metrics(
    label: str,
    embedded: Sequence[tuple[RegionEdit, RegionVectors]],
    vectors: RegionEmbeddings,
    names: Names,
    notes: list[str],
) -> list[Metric]:
    """Score how well regions fit their surroundings; each source counts once."""
    by_source: dict[int, list[Vectors]] = {}
    for edit, one in embedded:
        place = edit.number, edit.span
        four = one.whole, vectors.real(place).whole, vectors.foreign(place), vectors.context(place)
        if all(vector is not None for vector in four):
            by_source.setdefault(edit.number, []).append(np.stack([v for v in four if v is not None]))
    if len(by_source) < MIN_ROWS:
        return []
    found = context_score([np.stack(rows) for rows in by_source.values()])
    name = label.format("context")
    if found.interval is None:
        notes.append(
            f"{name} was left out: real regions fit their surroundings hardly better than those of other sounds"
        )
        return []
    interval, method = found.interval, "bootstrap over sources"
    return [names.metric(name, found.score, len(by_source), interval=interval, method=method, direction="higher")]


def _record(result: EditResult) -> ClipRecord:
    """Return the figures of one edit: of its edges the worst counts."""
    figures: dict[str, float] = {}
    if result.kept is not None:
        figures["edit/changed_samples"] = float(result.kept.changed_samples)
        figures["edit/largest_difference"] = result.kept.largest_difference
        figures["edit/region_snr"] = result.kept.region_snr
    if result.honored is not None:
        rate = result.edit.source.rate
        figures["edit/honored"] = float(result.honored.is_within(round(CROSSFADE * rate)))
    for name, key in (("seam/rank", "rank"), ("seam/flux", "flux"), ("seam/loudness_step", "loudness")):
        values = [abs(getattr(seam, key)) for seam in result.seams]
        if known := [value for value in values if np.isfinite(value)]:
            figures[name] = max(known)
    if "seam/rank" in figures:
        figures["seam/rank_beyond"] = float(figures["seam/rank"] > BEYOND)
    edit = result.edit
    return ClipRecord(edit.id, edit.source.caption, edit.seed, figures, result.failures, source=edit.source.id)
