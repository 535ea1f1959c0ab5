"""Report the distances of a set of sounds to a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from soundloom.errors import RequestError, shown
from soundloom.evaluation.cache import EmbeddingCache
from soundloom.evaluation.distances.frechet import Extrapolation
from soundloom.evaluation.embedders.base import Embedder
from soundloom.evaluation.embedding import EmbeddedSet, Log, embed_sounds
from soundloom.evaluation.metrics import Metric, share_metrics
from soundloom.evaluation.recipes import Recipe
from soundloom.evaluation.reports.embeddings import StoredEmbeddings, StoredReference
from soundloom.evaluation.reports.record import ClipRecord, Curve, Report
from soundloom.evaluation.sets.checks import SetChecks, check_sounds, comparison_notes, set_notes
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.manifest import SoundSet, prompt_numbers, read_set
from soundloom.evaluation.sets.metrics import Names, ReferenceRows, reference_rows, set_metrics
from soundloom.evaluation.sets.prompts import Prompt, PromptList, prompts_of
from soundloom.evaluation.sets.references import CONTENTS, PROMPTS, Reference, is_reference, read_reference

FAULTS = ("silent", "not finite", "clipped", "too short")
FEWEST = 2  # usable clips on each side


@dataclass(frozen=True)
class Measuring:
    """How sounds are embedded: by which embedder and recipe, with which cache, and who is told."""

    embedder: Embedder
    recipe: Recipe
    cache: EmbeddingCache | None = None
    log: Log = field(default=lambda done, total: None)

    def embed(self, items: Sequence[SoundItem]) -> EmbeddedSet:
        """Embed sounds."""
        return embed_sounds(items, self.embedder, self.recipe, self.cache, self.log)

    def check(self, items: Sequence[SoundItem]) -> SetChecks:
        """Check sounds for what makes a distance misleading."""
        return check_sounds(items, self.cache)


def load_reference(source: str, measuring: Measuring) -> Reference:
    """Read a stored reference by path or name, or embed a set of sounds.

    Raises RequestError if there is neither, MismatchError for a reference of another recipe or embedder.
    """
    if is_reference(source):
        found = read_reference(source)
        found.require(measuring.recipe, measuring.embedder.info)
        return found
    sounds = read_set(source)
    embedded = measuring.embed(sounds.items)
    _require_usable(f"the reference {sounds.name}", embedded)
    return make_reference(sounds, embedded, measuring)


def _require_usable(name: str, embedded: EmbeddedSet) -> None:
    """Raise RequestError, with the fault of a clip, for fewer usable clips than a distance needs."""
    if embedded.count >= FEWEST:
        return
    id, found = next(iter(embedded.failures.items()), ("", ()))
    total = embedded.count + len(embedded.failures)
    raise RequestError(
        f"{name} has {embedded.count} usable of {total} clips, and a distance needs {FEWEST} or more",
        f"{shown(id)}: {', '.join(found)}" if found else "add sounds",
    )


def make_reference(sounds: SoundSet, embedded: EmbeddedSet, measuring: Measuring) -> Reference:
    """Return embedded sounds as a reference."""
    recipe, info = measuring.recipe, measuring.embedder.info
    rows = reference_rows(embedded.rows(recipe))
    checks = measuring.check(sounds.items)
    return Reference(
        name=sounds.name,
        moments=rows.moments,
        bandwidth=rows.bandwidth,
        clip_count=embedded.count,
        recipe=recipe,
        embedder=info.name,
        embedder_hash=info.hash,
        set_name=sounds.name,
        set_hash=sounds.hash,
        license=sounds.license,
        facts={
            "failures": len(embedded.failures),
            "checks": checks.record(),
            CONTENTS: checks.hashes,
            PROMPTS: [[one.id, one.text, one.seconds] for one in _prompts(sounds)],
        },
        embeddings=embedded.rows(recipe).astype(np.float32),
        clips=embedded.row_clips(recipe),
    )


def _prompts(sounds: SoundSet) -> tuple[Prompt, ...]:
    return prompts_of(sounds).prompts if any(item.caption for item in sounds.items) else ()


def stored_prompts(reference: Reference) -> PromptList | None:
    """Return the captions that a reference was saved with, as prompts."""
    found = tuple(Prompt(*row) for row in reference.facts.get(PROMPTS, ()))
    return PromptList(reference.name, found) if found else None


def set_report(
    sounds: SoundSet,
    reference: Reference,
    measuring: Measuring,
    failures: Mapping[str, str] | None = None,
    subject: Mapping[str, Any] | None = None,
    allow_small: bool = False,
) -> tuple[Report, StoredEmbeddings]:
    """Measure sounds against a reference; return the report, and the embeddings that belong beside it.

    `failures` are errors of clips that were not generated, by id. Raises RequestError for too few usable sounds.
    """
    recipe, info = measuring.recipe, measuring.embedder.info
    embedded = measuring.embed(sounds.items)
    _require_usable(f"the set {sounds.name}", embedded)
    rows = embedded.rows(recipe)
    known = None if reference.embeddings is None else reference.embeddings.astype(np.float64)
    against = ReferenceRows(reference.moments, reference.bandwidth, known)
    names = Names(info.name, recipe.name, recipe.hash, info.hash)
    found = set_metrics(
        against, rows, embedded.row_clips(recipe), names, allow_small, _row_prompts(sounds, embedded, recipe)
    )
    failed = {**embedded.failures, **{id: (error,) for id, error in (failures or {}).items()}}
    checks, facts = measuring.check(sounds.items), reference.facts
    report = Report(
        "set",
        subject or {},
        {
            **sounds.facts(),
            "checks": checks.record(),
            "reference": reference.name,
            "reference_hash": reference.set_hash,
            **_lengths(reference),
        },
        (*found.metrics, *fault_metrics(embedded, failed)),
        recipes={recipe.hash[:12]: {**recipe.record(), "embedder_hash": info.hash, "reference": reference.record()}},
        clips=_records(sounds, embedded, failed, recipe, against),
        curves=_curves(found.extrapolation),
        notes=(
            *found.warnings,
            *(["the sounds differ from those that set.json was written for"] if sounds.changed else []),
            *_reference_notes(reference),
            *set_notes(checks),
            *comparison_notes(checks, facts.get("checks", {}), facts.get(CONTENTS, [])),
        ),
    )
    kept = StoredReference(reference.moments, reference.bandwidth, reference.embeddings)
    return report, StoredEmbeddings(rows.astype(np.float32), embedded.row_clips(recipe), kept)


def _reference_notes(reference: Reference) -> list[str]:
    failed = reference.facts.get("failures", 0)
    total = reference.clip_count + failed
    return [f"{failed} of {total} sounds of the reference are unusable, and were left out"] if failed else []


def _row_prompts(sounds: SoundSet, embedded: EmbeddedSet, recipe: Recipe) -> np.ndarray | None:
    """Return the number (n,) of each row's prompt; None where each clip has a prompt of its own."""
    numbers = prompt_numbers(sounds, embedded.ids)
    return None if len(np.unique(numbers)) == len(numbers) else numbers[embedded.row_clips(recipe)]


def _lengths(reference: Reference) -> dict[str, Any]:
    return {"reference clips": reference.clip_count, "reference license": reference.license}


def fault_metrics(embedded: EmbeddedSet, failed: Mapping[str, tuple[str, ...]]) -> list[Metric]:
    """Return the share of clips that failed, and that of each fault which occurs."""
    total = embedded.count + len(failed)
    seen = [*failed.values(), *embedded.warnings.values()]
    lost = share_metrics("set/failures", [1.0] * len(failed) + [0.0] * embedded.count)
    metrics = [replace(one, goal=0.0, bound="at most", direction="lower") for one in lost]
    for fault in FAULTS:
        if count := sum(fault in faults for faults in seen):
            share = share_metrics(f"set/{fault.replace(' ', '_')}", [1.0] * count + [0.0] * (total - count))
            metrics.append(replace(share[0], direction="lower"))
    return metrics


def _records(
    sounds: SoundSet,
    embedded: EmbeddedSet,
    failed: Mapping[str, tuple[str, ...]],
    recipe: Recipe,
    reference: ReferenceRows,
) -> tuple[ClipRecord, ...]:
    """Clips with their distance to the mean of the reference, in its standard deviations."""
    named = {item.id: item for item in sounds.items}
    spread = float(np.sqrt(np.trace(reference.moments.covariance)))
    away = np.linalg.norm(embedded.clip_means() - reference.moments.mean, axis=1) / max(spread, 1e-30)
    figure = f"set/deviation/{recipe.embedder}/{recipe.name}"
    scored = []
    for id, value in zip(embedded.ids, away, strict=True):
        clipped = {"set/clipped": 1.0} if "clipped" in embedded.warnings.get(id, ()) else {}
        scored.append(ClipRecord(id, named[id].caption, named[id].seed, {figure: float(value), **clipped}))
    lost = [ClipRecord(id, named[id].caption if id in named else "", failures=faults) for id, faults in failed.items()]
    return (*scored, *lost)


def _curves(line: Extrapolation | None) -> tuple[Curve, ...]:
    if line is None:
        return ()
    inverse = tuple(1000 / size for size in line.sizes)
    labels = tuple(str(size) for size in line.sizes)
    return (Curve("Fréchet distance by sample size", "1000 / clips", "distance", inverse, line.points, (), labels),)
