"""Evaluate edits by instruction, and compare precisions of a model on the same clips, seeds and sampling noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample
from soundloom.evaluation.edits.embedding import SpanEmbedder
from soundloom.evaluation.edits.evaluate import Save, facts, no_save
from soundloom.evaluation.edits.instruction_metrics import (
    InstructionScorer,
    difference_metrics,
    instruction_metrics,
    logit_figures,
    precision_differences,
    token_figures,
)
from soundloom.evaluation.edits.instructions import (
    INSTRUCTIONS,
    InstructionEdit,
    InstructionResult,
    Logits,
    forced_logits,
    plan_instructions,
    require_editor,
    run_instructions,
)
from soundloom.evaluation.edits.precision import mean_figures
from soundloom.evaluation.edits.sources import Sources
from soundloom.evaluation.embedders.base import TextEmbedder
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord, Difference, Report
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio.chunks import pad_or_trim

MAX_FORCED = 4  # edits whose logits are compared

Load = Callable[[str], AbstractContextManager[MusicModel]]
Log = Callable[[str, int, int], None]


@dataclass(frozen=True)
class InstructionConfig:
    """How much to measure. Without a `reference`, precisions are only compared with the first of them."""

    precisions: tuple[str, ...]
    instructions: tuple[str, ...] = INSTRUCTIONS
    seeds: int = 8
    window: float | None = None  # seconds per pass
    reference: str | None = "fp32"

    @property
    def seed_numbers(self) -> range:
        return range(1, self.seeds + 1)


@dataclass
class _Run:
    """The results of one precision."""

    results: list[InstructionResult]
    records: list[ClipRecord]
    logits: list[Logits]


def evaluate_instructions(
    load: Load,
    sources: Sources,
    config: InstructionConfig,
    embed: SpanEmbedder,
    log: Log = lambda part, done, total: None,
    save: Save = no_save,
) -> Report:
    """Edit each source by each instruction with each seed and precision; `load` opens the model in a precision.

    One precision is in memory at a time. Raises RequestError for a model that cannot edit.
    """
    start = time.perf_counter()
    edits = plan_instructions(sources.sounds, config.instructions, config.seed_numbers)
    recipe, info = embed.recipe, embed.embedder.info
    runs: dict[str, _Run] = {}
    subject: dict[str, Any] = {}
    wanted = dict.fromkeys((*([config.reference] if config.reference else ()), *config.precisions))
    for name in wanted:
        with load(name) as model:
            forced = runs[config.reference].results if config.reference in runs else None
            runs[name] = _run(model, name, edits, config, embed, forced, log)
            for edit, result in zip(edits, runs[name].results, strict=True):
                save(f"{edit.id} {name}", edit.seed, result.audio, edit.source.rate)
            subject |= {"model": model.name, "engine": model.engine.name, "device": model.engine.device}
            subject |= {f"sha256 {name}": model.checkpoint.fingerprint}
    metrics: list[Metric] = []
    for name in config.precisions:
        metrics += instruction_metrics(name, edits, runs[name].records, recipe.hash, info.hash)
    differences, paired = _comparison(runs, edits, config)
    compared, clips = _signals(runs, edits, config)
    clips += [ClipRecord(name, "", None, {}, faults) for name, faults in sources.failures.items()]
    notes = []
    if sources.failures:
        notes.append(f"{len(sources.failures)} sounds cannot be edited: see the failures of clips")
    if not isinstance(embed.embedder, TextEmbedder):
        notes.append(f"scores of instructions and captions were left out: the embedder {info.name} reads no text")
    return Report(
        kind="edits",
        subject={**subject, "precision": ", ".join(config.precisions)},
        data={**facts(sources, replace(config, precisions=())), "instructions": ", ".join(config.instructions)},
        metrics=(*metrics, *paired, *compared),
        recipes={recipe.hash[:12]: recipe.record()},
        clips=tuple(clips),
        cost={"seconds": time.perf_counter() - start},
        notes=tuple(notes),
        comparison=tuple(differences),
    )


def _run(
    model: MusicModel,
    name: str,
    edits: Sequence[InstructionEdit],
    config: InstructionConfig,
    embed: SpanEmbedder,
    forced: Sequence[InstructionResult] | None,
    log: Log,
) -> _Run:
    scorer = InstructionScorer(embed, require_editor(model), lambda audio, rate: codec_round_trip(model, audio, rate))
    results = run_instructions(model, edits, config.window, lambda done, total: log(f"edited in {name}", done, total))
    records = [scorer.score(edit, result) for edit, result in zip(edits, results, strict=True)]
    logits: list[Logits] = []
    if config.reference:
        given = results if forced is None else forced
        logits = [forced_logits(model, edits[i], given[i].tokens, config.window) for i in _forced(edits)]
    model.engine.free(*model.components)
    return _Run(results, records, logits)


def _forced(edits: Sequence[InstructionEdit]) -> list[int]:
    """Return the edits whose logits are compared: the first of each instruction."""
    first: dict[str, int] = {}
    for index, edit in enumerate(edits):
        first.setdefault(edit.instruction, index)
    return list(first.values())[:MAX_FORCED]


def _signals(
    runs: Mapping[str, _Run], edits: Sequence[InstructionEdit], config: InstructionConfig
) -> tuple[list[Metric], list[ClipRecord]]:
    """Compare tokens, sounds and logits with the reference; return metrics, and the records of all clips."""
    metrics: list[Metric] = []
    clips: list[ClipRecord] = []
    reference = runs.get(config.reference or "")
    for name in config.precisions:
        run, figures = runs[name], [dict[str, float]() for _ in edits]
        if reference and name != config.reference:
            figures = [
                token_figures(name, ours, theirs) for ours, theirs in zip(run.results, reference.results, strict=True)
            ]
            pairs = zip(_forced(edits), run.logits, reference.logits, strict=True)
            for index, ours, theirs in pairs:
                figures[index] |= logit_figures(name, ours, theirs)
        records = [
            replace(
                record,
                id=f"{record.id} {name}",
                figures={f"{key}/{name}": value for key, value in record.figures.items()}
                | {key: value for key, value in more.items() if np.isfinite(value)},
            )
            for record, more in zip(run.records, figures, strict=True)
        ]
        compared = [
            ClipRecord(each.id, figures={k: v for k, v in each.figures.items() if k.startswith("precision/")})
            for each in records
        ]
        metrics += mean_figures(compared)
        clips += records
    return metrics, clips


def _comparison(
    runs: Mapping[str, _Run], edits: Sequence[InstructionEdit], config: InstructionConfig
) -> tuple[list[Difference], list[Metric]]:
    """Return the paired differences of the other precisions from the first, also as metrics."""
    base, *others = config.precisions
    differences: list[Difference] = []
    metrics: list[Metric] = []
    for name in others:
        found = precision_differences(base, name, edits, runs[base].records, runs[name].records)
        differences += found
        metrics += difference_metrics(base, name, found)
    return differences, metrics


def codec_round_trip(model: MusicModel, audio: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return a sound (c, n) after the model's codec, at its own rate, channels and length."""
    clip = model.decode(model.encode(Clip(audio, rate)))
    return pad_or_trim(to_channels(resample(clip.audio, clip.sample_rate, rate), len(audio)), audio.shape[1])
