"""Evaluate the edits of a Stable Audio model: regions, continuations, loops, variations, and precisions."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_channels
from soundloom.audio.resample import resample
from soundloom.evaluation.edits.embedding import SpanEmbedder
from soundloom.evaluation.edits.loop_edits import measure_loops
from soundloom.evaluation.edits.precision import (
    REFERENCE,
    PrecisionPrompt,
    compare_precision,
    run_precision,
)
from soundloom.evaluation.edits.region_edits import plan_edits, run_edits
from soundloom.evaluation.edits.region_metrics import RegionEmbeddings, RegionMetrics, measure_regions
from soundloom.evaluation.edits.sources import Source, Sources
from soundloom.evaluation.edits.variation_metrics import LEVELS, VariationMetrics, measure_variations
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord, Curve, Report
from soundloom.evaluation.sets.metrics import Names
from soundloom.pipeline.stable_audio.chunks import pad_or_trim
from soundloom.pipeline.stable_audio.model import Model

PARTS = ("regions", "loops", "variations")

Log = Callable[[str, int, int], None]  # part, clips done, clips in all
Save = Callable[[str, int, NDArray[np.float32], int], None]  # id, seed, audio and rate of each clip


def no_save(name: str, seed: int, audio: NDArray[np.float32], rate: int) -> None:
    """Save no clips."""


@dataclass(frozen=True)
class EditsConfig:
    """How much to measure. Lengths are in seconds, `places` of the middles of regions in shares of the sound."""

    gaps: tuple[float, ...] = (0.5, 1.0, 2.0)
    places: tuple[float, ...] = (0.35, 0.65)
    levels: tuple[float, ...] = LEVELS
    seeds: int = 2
    steps: int | None = None
    parts: tuple[str, ...] = PARTS
    precisions: tuple[str, ...] = ()

    @property
    def seed_numbers(self) -> range:
        return range(1, self.seeds + 1)


@dataclass
class _Found:
    """What was measured so far."""

    metrics: list[Metric] = field(default_factory=list)
    clips: list[ClipRecord] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, part: RegionMetrics | VariationMetrics) -> None:
        self.metrics += part.metrics
        self.clips += part.clips
        self.curves += part.curves
        self.notes += part.notes


def evaluate_edits(
    model: Model,
    sources: Sources,
    config: EditsConfig,
    embed: SpanEmbedder,
    subject: Mapping[str, Any],
    load: Callable[[str], Model] | None = None,
    log: Log = lambda part, done, total: None,
    save: Save = no_save,
) -> Report:
    """Measure edits of the sources; `load` returns the model in another precision, for `config.precisions`."""
    start, found = time.perf_counter(), _Found()
    recipe, info = embed.recipe, embed.embedder.info
    names = Names(info.name, recipe.name, recipe.hash, info.hash)
    if sources.failures:
        found.notes.append(f"{len(sources.failures)} sounds cannot be edited: see the failures of clips")
    if bare := sum(not source.caption.strip() for source in sources.sounds):
        found.notes.append(f"{bare} sounds have no caption, so their edits have an empty prompt")
    found.clips += [ClipRecord(name, "", None, {}, faults) for name, faults in sources.failures.items()]
    trips = round_trips(model, sources.sounds, lambda done, total: log("encoded", done, total))
    run = _Run(found, model, sources.sounds, trips, config, embed, names, log, save)
    for part, measure in (("regions", run.regions), ("loops", run.loops), ("variations", run.variations)):
        if part in config.parts:
            measure()
    if config.precisions and load:
        model.engine.free(*model.components)
        _precisions(found, sources.sounds, config, load, log)
    seconds = time.perf_counter() - start
    made = sum(record.seed is not None for record in found.clips)
    return Report(
        kind="edits",
        subject=subject,
        data=facts(sources, config),
        metrics=tuple(found.metrics),
        recipes={recipe.hash[:12]: recipe.record()},
        clips=tuple(found.clips),
        curves=tuple(found.curves),
        cost={"seconds": seconds, "seconds_per_clip": seconds / max(made, 1)},
        notes=tuple(dict.fromkeys(found.notes)),
    )


def facts(sources: Sources, config: Any) -> dict[str, Any]:
    """Return what a report says about the edited sounds; the manifest also depends on the edits."""
    edits = {name: value for name, value in asdict(config).items() if name not in ("precisions", "steps")}
    manifest = hashlib.sha256(json.dumps([sources.hash, edits], sort_keys=True).encode()).hexdigest()
    lengths = [source.samples / source.rate for source in sources.sounds]
    return {
        "name": sources.name,
        "manifest": manifest,
        "license": sources.license,
        "sources": len(sources.sounds),
        "unusable sources": len(sources.failures),
        "seeds": config.seeds,
        "seconds": float(np.median(lengths)),
    }


def round_trips(
    model: Model, sources: Sequence[Source], log: Callable[[int, int], None]
) -> list[NDArray[np.float32] | None]:
    """Return each source after encoding and decoding, at its own rate and length; None where that is not finite."""
    found: list[NDArray[np.float32] | None] = []
    for source in sources:
        clip = model.decode(model.encode(source.clip))
        audio = to_channels(resample(clip.audio, clip.sample_rate, source.rate), len(source.audio))
        trip = pad_or_trim(audio, source.samples)
        found.append(trip if np.isfinite(trip).all() else None)
        log(len(found), len(sources))
    return found


@dataclass(frozen=True)
class _Run:
    """The parts of an evaluation; each adds to `found`."""

    found: _Found
    model: Model
    sources: Sequence[Source]
    trips: Sequence[NDArray[np.float32] | None]
    config: EditsConfig
    embed: SpanEmbedder
    names: Names
    log: Log
    save: Save

    def regions(self) -> None:
        config = self.config
        edits = plan_edits(self.sources, config.gaps, config.places, config.seed_numbers, with_ends=True)
        if left := sorted(set(config.gaps) - {edit.gap for edit in edits}):
            gaps = ", ".join(f"{gap:g}" for gap in left)
            self.found.notes.append(f"no sound is long enough for regions of {gaps} s")
        results = run_edits(self.model, edits, config.steps, self._progress("edited"))
        self.found.add(
            measure_regions(results, RegionEmbeddings(self.embed, self.sources, self.trips), self.names, self.save)
        )

    def loops(self) -> None:
        metrics, clips = measure_loops(
            self.model, self.sources, self.config.seed_numbers, self.config.steps, self._progress("looped"), self.save
        )
        self.found.metrics += metrics
        self.found.clips += clips

    def variations(self) -> None:
        if len(self.sources) < 2:
            self.found.notes.append("variations were left out: each sound is varied toward the caption of another one")
            return
        config = self.config
        self.found.add(
            measure_variations(
                self.model,
                self.sources,
                self.trips,
                self.embed,
                self.names,
                config.seed_numbers,
                config.levels,
                config.steps,
                self._progress("varied"),
                self.save,
            )
        )

    def _progress(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.log(what, done, total)


def _precisions(
    found: _Found, sources: Sequence[Source], config: EditsConfig, load: Callable[[str], Model], log: Log
) -> None:
    seconds = min(source.samples / source.rate for source in sources)
    prompts = [
        PrecisionPrompt(source.id, source.caption, seed, seconds) for source in sources for seed in config.seed_numbers
    ]

    def progress(name: str) -> Callable[[int, int], None]:
        return lambda done, total: log(f"generated in {name}", done, total)

    model = load(REFERENCE)
    plain = run_precision(model, prompts, None, config.steps, progress(REFERENCE))
    reference = run_precision(model, prompts, plain, config.steps, progress(f"{REFERENCE} again"))
    for name in config.precisions:
        if name == REFERENCE:
            continue
        run = run_precision(load(name), prompts, plain, config.steps, progress(name))
        metrics, clips = compare_precision(name, run, reference, prompts)
        found.metrics += metrics
        found.clips += clips
