"""Make loops of sounds, and measure the wrap from the end to the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.evaluation.clips import BATCH, generate_clips
from soundloom.evaluation.edits.figures import grouped_metric, share_metric
from soundloom.evaluation.edits.kept import measure_kept
from soundloom.evaluation.edits.region_metrics import BEYOND, MAX_BEYOND, MAX_FLUX
from soundloom.evaluation.edits.seams import measure_wrap
from soundloom.evaluation.edits.sources import Source
from soundloom.evaluation.frontend import UNUSABLE, faults
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord
from soundloom.pipeline.stable_audio.model import Model

SEAM = 0.5  # seconds that are generated around the wrap

Log = Callable[[int, int], None]
Save = Callable[[str, int, NDArray[np.float32], int], None]


def measure_loops(
    model: Model,
    sources: Sequence[Source],
    seeds: Sequence[int],
    steps: int | None = None,
    log: Log = lambda done, total: None,
    save: Save = lambda name, seed, audio, rate: None,
) -> tuple[list[Metric], list[ClipRecord]]:
    """Make a loop of each source with each seed; return metrics and the figures of each clip."""
    planned = list(product(enumerate(sources), seeds))
    requests = [
        GenerationRequest(source.caption, source=source.clip, loop=True, seam=SEAM, seed=seed, steps=steps)
        for (_, source), seed in planned
    ]
    records = []
    for start in range(0, len(planned), BATCH):
        batch = planned[start : start + BATCH]
        clips = generate_clips(model, requests[start : start + BATCH])
        for ((_, source), seed), clip in zip(batch, clips, strict=True):
            figures: dict[str, float] = {}
            failures: tuple[str, ...] = ("unusable",)
            if clip:
                save(f"{source.id} loop", seed, clip.audio, clip.sample_rate)
                failures = tuple(sorted(UNUSABLE.intersection(faults(clip.audio, clip.sample_rate))))
                figures = {} if "not finite" in failures else loop_figures(source, clip.audio)
            records.append(ClipRecord(f"{source.id} loop", source.caption, seed, figures, failures, source=source.id))
        log(min(start + BATCH, len(planned)), len(planned))
    return loop_metrics(records, [number for (number, _), _ in planned]), records


def loop_figures(source: Source, audio: np.ndarray) -> dict[str, float]:
    """Return the figures of a loop (c, n) of a source, of which all but half a second around the wrap is preserved."""
    count, reach = source.samples, min(round(SEAM * source.rate / 2), source.samples // 4)
    kept = measure_kept(source.audio, audio, [(0, reach), (count - reach, count)])
    wrap = measure_wrap(audio, source.rate)
    figures = {
        "loop/changed_samples": float(kept.changed_samples),
        "loop/rank": wrap.rank,
        "loop/rank_beyond": float(wrap.rank > BEYOND),
        "loop/flux": abs(wrap.flux),
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def loop_metrics(records: Sequence[ClipRecord], numbers: Sequence[int]) -> list[Metric]:
    """Sum up loops; `numbers` tell the source of each."""
    found = [(record.figures, number) for record, number in zip(records, numbers, strict=True) if record.figures]
    metrics = share_metric("loop/failures", [bool(one.failures) for one in records], numbers, "lower", 0.0, "at most")
    if not found:
        return metrics
    changed = sum(figures["loop/changed_samples"] for figures, _ in found)
    ranked = [(figures["loop/rank"] > BEYOND, number) for figures, number in found if "loop/rank" in figures]
    beyond, owners = [is_beyond for is_beyond, _ in ranked], [number for _, number in ranked]
    flux = [figures.get("loop/flux", float("nan")) for figures, _ in found]
    return [
        *metrics,
        Metric("loop/changed_samples", changed, len(found), None, 0.0, "at most", direction="lower"),
        *share_metric("loop/rank_beyond", beyond, owners, "lower", MAX_BEYOND, "at most"),
        *grouped_metric("loop/flux", flux, [number for _, number in found], "", "lower", MAX_FLUX, reduce=np.median),
    ]
