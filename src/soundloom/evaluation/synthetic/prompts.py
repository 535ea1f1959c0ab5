"""Held-out synthetic prompts as a list of prompts, and the exact score of clips that were generated from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from soundloom.errors import AudioError
from soundloom.evaluation.metrics import mean_metric
from soundloom.evaluation.reports.record import ClipRecord, Report
from soundloom.evaluation.sets.generation import GeneratedSet
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.prompts import Prompt, PromptList
from soundloom.evaluation.synthetic.adherence import (
    PITCH_TOLERANCE,
    TEMPO_TOLERANCE,
    ClipScores,
    adherence_metrics,
    score_clip,
)
from soundloom.evaluation.synthetic.evaluate import EvaluationConfig, HeldOutPrompt

FIGURE = "synthetic/obeyed"


def held_out_prompts(config: EvaluationConfig) -> tuple[PromptList, dict[str, HeldOutPrompt]]:
    """Return the prompts of an evaluation as a list, and their labels by id."""
    labels = {f"p{number:03d}": one for number, one in enumerate(config.sample_prompts(config.prompts), 1)}
    prompts = tuple(Prompt(id, one.text, config.seconds, seed=1) for id, one in labels.items())
    return PromptList("synthetic", prompts, config.seeds), labels


def obeyed(scores: ClipScores) -> float:
    """Return the share of what a prompt asks for (kind, pitch, tempo, side) that a clip has."""
    asked = [scores.is_kind]
    if scores.cents is not None:
        asked.append(abs(scores.cents) <= PITCH_TOLERANCE)
    if scores.tempo is not None:
        asked.append(abs(scores.tempo - 1) <= TEMPO_TOLERANCE)
    if scores.side is not None:
        asked.append(scores.side)
    return float(np.mean(asked))


def obeyed_report(made: GeneratedSet, labels: Mapping[str, HeldOutPrompt], manifest: str) -> Report:
    """Report how much clips have of what their prompts ask for; a clip that failed has nothing."""
    pairs: Sequence[tuple[SoundItem | None, str]] = [
        *((item, item.id) for item in made.sounds),
        *((None, id) for id in made.failures),
    ]
    scored = [(item, id, _score(item, labels[id.rpartition("@")[0]])) for item, id in pairs]
    records = tuple(
        ClipRecord(
            id,
            scores.prompt,
            item.seed if item else int(id.rpartition("@")[2]),
            {FIGURE: obeyed(scores)},
            () if item else (made.failures[id],),
        )
        for item, id, scores in scored
    )
    values = [record.figures[FIGURE] for record in records]
    exact = [replace(one, name=f"synthetic/{one.name}") for one in adherence_metrics([one for *_, one in scored])[:4]]
    metric = replace(mean_metric(FIGURE, values, "%"), direction="higher", goal=None)
    return Report("sweep", {}, {"manifest": manifest, "prompts": len(labels)}, (metric, *exact), clips=records)


def _score(item: SoundItem | None, prompt: HeldOutPrompt) -> ClipScores:
    if item is None:
        return score_clip(prompt, None, 0)
    try:
        audio, rate = item.read()
    except AudioError:
        return score_clip(prompt, None, 0)
    return score_clip(prompt, audio, rate)
