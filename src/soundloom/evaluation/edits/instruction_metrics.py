"""Score edits by instruction: the CLAP score of the instruction, of the target caption, and differences of precisions.

The score of the instruction itself is the published figure, but no measure of obedience: "Remove drums" scores higher
while drums stay. The delta against the untouched source has a target caption that names what must sound.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.alignment import edit as score_edit
from soundloom.evaluation.alignment import score
from soundloom.evaluation.edits.embedding import SpanEmbedder, Vectors
from soundloom.evaluation.edits.figures import Direction, grouped_metric, share_metric
from soundloom.evaluation.edits.instructions import (
    InstructionEdit,
    InstructionResult,
    Logits,
    captions,
    parse_instruction,
    true_edit,
)
from soundloom.evaluation.edits.precision import cosine, signal_figures
from soundloom.evaluation.edits.stems import score_stems
from soundloom.evaluation.embedders.base import TextEmbedder
from soundloom.evaluation.frontend import UNUSABLE, faults
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.compare import difference_of, with_verdicts
from soundloom.evaluation.reports.pairs import Pairs, paired_values
from soundloom.evaluation.reports.record import ClipRecord, Difference

MARGIN = 0.01  # of scores by CLAP, within which precisions are equivalent
FEW_SOURCES = 5  # below which seeds are resampled, not sources
DIRECTIONS: dict[str, Direction] = {
    "edit/instruction": "higher",
    "edit/target": "higher",
    "edit/delta": "higher",
    "edit/directional": "higher",
    "edit/tag": "higher",
    "stems/log_mel": "lower",
    "stems/ssim": "higher",
    "stems/si_sdr": "higher",
    "stems/si_sdr_improvement": "higher",
}

RoundTrip = Callable[[NDArray[np.float32], int], NDArray[np.float32]]


@dataclass
class InstructionScorer:
    """Scores edits; vectors of texts, of sources, and codec round trips of truths are computed once.

    `round_trip` returns a sound (c, n) of a rate after the model's own codec.
    """

    embed: SpanEmbedder
    instruments: Collection[str]
    round_trip: RoundTrip
    _texts: dict[str, Vectors] = field(default_factory=dict)
    _sources: dict[int, Vectors] = field(default_factory=dict)
    _tags: dict[int, dict[str, float]] = field(default_factory=dict)
    _truths: dict[tuple[int, str], NDArray[np.float32]] = field(default_factory=dict)

    @property
    def reads_text(self) -> bool:
        return isinstance(self.embed.embedder, TextEmbedder)

    def score(self, edit: InstructionEdit, result: InstructionResult) -> ClipRecord:
        """Return the figures of an edit; a silent result is a failure unless it may be silent."""
        source, audio = edit.source, result.audio
        found: set[str] = set(UNUSABLE.intersection(faults(audio, source.rate)))
        if captions(edit.instruction, source, self.instruments).may_be_silent:
            found.discard("silent")
        failures = tuple(sorted(found))
        figures = self._scores(edit, audio) | self._tag(edit, audio)
        if "not finite" not in failures:
            figures |= self._stems(edit, audio)
        known = {name: value for name, value in figures.items() if np.isfinite(value)}
        return ClipRecord(edit.id, edit.instruction, edit.seed, known, failures, source=source.id)

    def _scores(self, edit: InstructionEdit, audio: NDArray[np.float32]) -> dict[str, float]:
        after, before = self.embed.windows(audio, edit.source.rate)[None], self._source(edit)[None]
        if not (after.size and before.size):
            return {}
        if not self.reads_text:
            nothing = np.zeros((1, after.shape[2]))
            return {"edit/kept": float(score_edit(after, before, nothing, nothing).kept[0])}
        words = captions(edit.instruction, edit.source, self.instruments)
        target, caption = self._text(words.target)[None], self._text(words.source)[None]
        found = score_edit(after, before, target, caption)
        by_instruction = score(after, self._text(edit.instruction)[None])
        is_mean = self.embed.recipe.score == "mean of cosines"
        return {
            "edit/instruction": float(
                (by_instruction.mean_of_cosines if is_mean else by_instruction.cosine_of_mean)[0]
            ),
            "edit/target": float(found.target[0]),
            "edit/before": float(found.before[0]),
            "edit/delta": float(found.delta[0]),
            "edit/directional": float(found.directional[0]),
            "edit/kept": float(found.kept[0]),
        }

    def _tag(self, edit: InstructionEdit, audio: NDArray[np.float32]) -> dict[str, float]:
        """Return how much more probable the instrument became for a tagger, or less probable if it was to go."""
        parsed = parse_instruction(edit.instruction, self.instruments)
        if parsed is None:
            return {}
        verb, instrument = parsed
        if edit.number not in self._tags:
            self._tags[edit.number] = self.embed.tags(edit.source.audio, edit.source.rate)
        before, after = self._tags[edit.number], self.embed.tags(audio, edit.source.rate)
        if instrument not in before or instrument not in after:
            return {}
        change = after[instrument] - before[instrument]
        return {"edit/tag": -change if verb == "No" else change}

    def _text(self, text: str) -> Vectors:
        if text not in self._texts:
            embedder = self.embed.embedder
            assert isinstance(embedder, TextEmbedder)
            words = self.embed.recipe.text_of(text)
            self._texts[text] = embedder.embed_text([words])[0].astype(np.float64)
        return self._texts[text]

    def _source(self, edit: InstructionEdit) -> Vectors:
        if edit.number not in self._sources:
            self._sources[edit.number] = self.embed.windows(edit.source.audio, edit.source.rate)
        return self._sources[edit.number]

    def _stems(self, edit: InstructionEdit, audio: NDArray[np.float32]) -> dict[str, float]:
        truth = true_edit(edit.instruction, edit.source, self.instruments)
        parsed = parse_instruction(edit.instruction, self.instruments)
        if truth is None or parsed is None:
            return {}
        rate, key = edit.source.rate, (edit.number, edit.instruction)
        if key not in self._truths:
            self._truths[key] = self.round_trip(truth, rate)
        task = "extract" if parsed[0] == "Only" else "remove"
        found = score_stems(audio, truth, edit.source.audio, self._truths[key], rate, task)  # type: ignore[arg-type]
        return {
            "stems/si_sdr": found.si_sdr,
            "stems/si_sdr_improvement": found.si_sdr_improvement,
            "stems/log_mel": found.log_mel,
            "stems/ssim": found.ssim,
            "stems/ceiling_si_sdr": found.ceiling_si_sdr,
            "stems/ceiling_log_mel": found.ceiling_log_mel,
        }


def groups_of(edits: Sequence[InstructionEdit]) -> tuple[list[str], str]:
    """Return what is resampled, and its name: sources, or the seeds of each where there are fewer than five sources."""
    if len({edit.number for edit in edits}) < FEW_SOURCES:
        return [f"{edit.number} {edit.seed}" for edit in edits], "seeds of each source"
    return [str(edit.number) for edit in edits], "sources"


def instruction_metrics(
    precision: str, edits: Sequence[InstructionEdit], records: Sequence[ClipRecord], recipe: str, embedder: str
) -> list[Metric]:
    """Return the mean of each figure over all edits of one precision, and scores for each instruction."""
    groups, unit = groups_of(edits)
    failures = [bool(record.failures) for record in records]
    metrics = share_metric(f"edit/failures/{precision}", failures, groups, "lower", 0.0, "at most", unit)
    names = list(dict.fromkeys(name for record in records for name in record.figures))
    for name in names:
        metrics += _means(f"{name}/{precision}", name, records, groups, unit, recipe, embedder)
    for instruction in dict.fromkeys(edit.instruction for edit in edits):
        chosen = [index for index, edit in enumerate(edits) if edit.instruction == instruction]
        for name in ("edit/instruction", "edit/delta", "edit/tag", "edit/kept"):
            if name in names:
                some = [records[index] for index in chosen]
                label = f"{name}/{precision}/{instruction}"
                metrics += _means(label, name, some, [groups[index] for index in chosen], unit, recipe, embedder)
    return metrics


def _means(
    label: str,
    name: str,
    records: Sequence[ClipRecord],
    groups: Sequence[str],
    resampled: str,
    recipe: str,
    embedder: str,
) -> list[Metric]:
    values = [record.figures.get(name, float("nan")) for record in records]
    unit = "dB" if name.startswith("stems/") else ""
    hashes = ("", "") if unit else (recipe[:12], embedder[:12])
    direction = DIRECTIONS.get(name, "")
    return grouped_metric(
        label, values, groups, unit, direction, recipe=hashes[0], embedder=hashes[1], unit_of_groups=resampled
    )


def precision_differences(
    base: str, other: str, edits: Sequence[InstructionEdit], first: Sequence[ClipRecord], second: Sequence[ClipRecord]
) -> list[Difference]:
    """Return the differences of a precision from another on the same clips, instructions, seeds and noise."""
    indices = np.repeat(np.arange(len(edits))[:, None], 2, axis=1)
    groups, unit = groups_of(edits)
    pairs = Pairs(indices, tuple(groups), 0, unit)
    found = []
    for name in dict.fromkeys(name for record in first for name in record.figures):
        if name.startswith("stems/ceiling"):
            continue
        values = paired_values(pairs, first, second, name)
        if len(values.base):
            metric = Metric(
                name, 0.0, 0, unit="dB" if name.startswith("stems/") else "", direction=DIRECTIONS.get(name, "")
            )
            margin = MARGIN if name.startswith("edit/") else None
            difference = difference_of(name, values, metric, margin)
            found.append(replace(difference, subject=f"{other} against {base}"))
    return with_verdicts(found)


def difference_metrics(base: str, other: str, differences: Sequence[Difference]) -> list[Metric]:
    """Return paired differences as metrics, for the table."""
    return [
        Metric(
            f"{one.figure}/{other}-{base}",
            one.difference,
            one.count,
            one.interval,
            unit=one.unit,
            direction=one.direction,
            method=f"{one.method}: {one.verdict}",
        )
        for one in differences
    ]


def token_figures(name: str, result: InstructionResult, reference: InstructionResult) -> dict[str, float]:
    """Return how an edit differs from that of another precision: in its tokens, and ratios of sounds.

    `equal_frames` counts the frames before the first difference.
    """
    ours, theirs = (np.concatenate(each.tokens, axis=1) for each in (result, reference))
    differ = np.flatnonzero((ours != theirs).any(axis=0))
    figures = {
        f"precision/{name}/equal_tokens": float((ours == theirs).mean()),
        f"precision/{name}/equal_frames": float(differ[0] if differ.size else ours.shape[1]),
    }
    return figures | signal_figures(f"precision/{name}/sound", result.audio, reference.audio)


def logit_figures(name: str, logits: Logits, reference: Logits) -> dict[str, float]:
    """Return the cosine of logits by position, and the share of equal most likely tokens."""
    figures = {}
    for position, theirs in reference.items():
        ours = logits[position]
        figures[f"precision/{name}/logits_cosine/{position}"] = cosine(ours, theirs)
        figures[f"precision/{name}/logits_top/{position}"] = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
    return figures
