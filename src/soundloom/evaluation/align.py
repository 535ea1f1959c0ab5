"""Report how well sounds match their captions, in the space of a text embedder such as CLAP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from soundloom.errors import RequestError
from soundloom.evaluation.alignment import Scores, score_windows, unit
from soundloom.evaluation.cache import EmbeddingCache
from soundloom.evaluation.embedders.base import TextEmbedder
from soundloom.evaluation.embedding import EmbeddedSet, Log, embed_sounds
from soundloom.evaluation.metrics import Metric, mean_metric, share_metrics
from soundloom.evaluation.recipes import Recipe
from soundloom.evaluation.reports.record import ClipRecord, Report
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.manifest import SoundSet, prompt_numbers
from soundloom.evaluation.statistics.intervals import bca

MIN_INTERVAL = 3  # prompts


def align_report(
    sounds: SoundSet,
    embedder: TextEmbedder,
    recipe: Recipe,
    cache: EmbeddingCache | None = None,
    failures: Mapping[str, str] | None = None,
    subject: Mapping[str, Any] | None = None,
    log: Log = lambda done, total: None,
) -> Report:
    """Score each sound with a caption against it, and against the caption of another sound.

    `failures` are errors of clips that were not generated, by id. Raises RequestError without captions.
    """
    items = tuple(item for item in sounds.items if item.caption)
    if not items:
        raise RequestError(f"no sound of {sounds.name} has a caption", "put a NAME.txt beside each sound, or a table")
    embedded = embed_sounds(items, embedder, recipe, cache, log)
    named = {item.id: item for item in items}
    found = [named[id] for id in embedded.ids]
    scores, foreign = caption_scores(embedded, [item.caption for item in found], embedder, recipe)
    failed = {**embedded.failures, **{id: (error,) for id, error in (failures or {}).items()}}
    common = {"windows": len(embedded.vectors), "recipe": recipe.hash[:12], "embedder": embedder.info.hash[:12]}
    return Report(
        "align",
        subject or {},
        {**sounds.facts(), "without caption": len(sounds.items) - len(items)},
        tuple(_metrics(scores, foreign, len(failed), prompt_numbers(sounds, embedded.ids), common)),
        recipes={recipe.hash[:12]: {**recipe.record(), "embedder_hash": embedder.info.hash}},
        clips=_records(found, scores, named, failed),
    )


def caption_scores(
    embedded: EmbeddedSet, captions: list[str], embedder: TextEmbedder, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (clips,) of clips with their own captions, and with those of the next other caption."""
    distinct = list(dict.fromkeys(captions))
    texts = unit(embedder.embed_text([recipe.text_of(text) for text in distinct]))
    own = np.array([distinct.index(text) for text in captions], int)
    other = (own + 1) % len(distinct)

    def scored(texts_of_clips: np.ndarray) -> np.ndarray:
        found = [
            _score(score_windows(embedded.windows_of(clip), texts[text]), recipe)
            for clip, text in enumerate(texts_of_clips)
        ]
        return np.array(found)

    return scored(own), scored(other) if len(distinct) > 1 else np.full(len(own), np.nan)


def _score(scores: Scores, recipe: Recipe) -> float:
    return float((scores.mean_of_cosines if recipe.score == "mean of cosines" else scores.cosine_of_mean)[0])


def _metrics(
    scores: np.ndarray, foreign: np.ndarray, failed: int, prompts: np.ndarray, common: Mapping[str, Any]
) -> list[Metric]:
    """Return means over prompts: clips (clips,) of one prompt with several seeds are not independent."""
    total = len(scores) + failed
    failures = Metric("align/failures", failed / total, total, goal=0.0, bound="at most", unit="%", direction="lower")
    if not len(scores):
        return [failures]

    def by_prompt(values: np.ndarray) -> list[float]:
        return list(np.bincount(prompts, values) / np.bincount(prompts))

    means = by_prompt(scores)
    unit = "clips" if len(means) == len(scores) else "prompts"
    interval = bca(means).interval if len(means) >= MIN_INTERVAL else None
    method = f"BCa bootstrap over {unit}" if interval else ""
    found = [replace(mean_metric("align/score", means, ""), interval=interval, method=method, direction="higher")]
    if np.isfinite(foreign).all():
        own = share_metrics("align/own_caption_wins", by_prompt((scores > foreign).astype(float)))
        found += [mean_metric("align/foreign", by_prompt(foreign), ""), replace(own[0], direction="higher")]
    return [failures, *(replace(one, **common) for one in found)]


def _records(
    found: list[SoundItem], scores: np.ndarray, named: Mapping[str, SoundItem], failed: Mapping[str, tuple[str, ...]]
) -> tuple[ClipRecord, ...]:
    scored = [
        ClipRecord(item.id, item.caption, item.seed, {"align/score": float(value)})
        for item, value in zip(found, scores, strict=True)
    ]
    lost = [ClipRecord(id, named[id].caption if id in named else "", failures=faults) for id, faults in failed.items()]
    return (*scored, *lost)
