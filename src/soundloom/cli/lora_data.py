"""Show what the checks of a training set found, and what a run on it needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.cli.terminal.training_progress import duration
from soundloom.errors import RequestError
from soundloom.folders import expanded
from soundloom.training.lora.checks import DataReport, advice

if TYPE_CHECKING:
    from soundloom.checkpoints.stable_audio.open import Checkpoint
    from soundloom.training.lora.config import LoraConfig

log = logging.getLogger(__name__)

GIB = 2**30


def require_outside(out: Path, data: str) -> None:
    """Raise RequestError if files in the folder `out` would become part of a training set."""
    inner, outer = os.path.realpath(out), os.path.realpath(expanded(data))
    if inner == outer or inner.startswith(outer + os.sep):
        raise RequestError(f"the output {out} is inside the sounds in {data}", "choose a folder outside it")


def report_warnings(report: DataReport) -> None:
    for warning in report.warnings:
        log.warning("%s", warning)


def report_lines(report: DataReport) -> Iterator[str]:
    """Yield the size of a set, its errors, and what suits its size."""
    clips = report.usable
    yield f"{len(report.clips)} clips, {len(clips)} usable, {report.seconds / 60:.1f} min"
    yield from (f"error: {error}" for error in report.errors)
    if clips:
        yield f"for a set of this size: {advice(len(clips), report.seconds)}"


def report_facts(report: DataReport) -> dict[str, Any]:
    """Return a report as plain data."""
    clips = [
        {"origin": clip.origin, "seconds": clip.seconds, "captions": list(clip.captions), "fault": clip.fault}
        for clip in report.clips
    ]
    return {"clips": clips, "errors": list(report.errors), "warnings": list(report.warnings)}


def dry_run_lines(
    config: LoraConfig, checkpoint: Checkpoint, report: DataReport, half: bool, recompute: bool, speed: float
) -> list[str]:
    """Return what a run would do and need; `speed` is in operations per second."""
    from soundloom.lora.modules import module_shapes
    from soundloom.training.lora.estimate import estimate
    from soundloom.training.lora.setup import generative_config

    model = generative_config(checkpoint)
    shapes = module_shapes(model)
    chosen = {name: shapes[name] for name in config.adapter.layers(list(shapes))}
    rate = model.sample_rate / model.same.downsampling_ratio
    longest = max((clip.frames or round(clip.seconds * rate) for clip in report.usable), default=config.data.crop)
    needs = estimate(model, chosen, config, max(1, longest), half, recompute)
    adapter, loop = config.adapter, config.loop
    per_step = loop.accumulate * needs.seconds_per_step(speed)
    kind = f"{adapter.type} of rank {adapter.rank}"
    parts = f"weights {needs.weights / GIB:.2f}, adapter {needs.adapter / GIB:.2f}, activations"
    return [
        *report_lines(report),
        f"adapter: {kind}, {len(chosen)} layers, {needs.parameters / 1e6:.2f} M parameters",
        f"memory: about {needs.memory / GIB:.2f} GiB ({parts} {needs.activations / GIB:.2f})",
        f"time: about {per_step:.3g} s per step, {duration(per_step * loop.steps)} for {loop.steps} steps",
    ]
