"""Pair the clips of two reports, and collect the values of a figure prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.reports.record import ClipRecord
from soundloom.evaluation.sets.items import prompt_of

FAILURES = "failures"  # the figure that is 1 for a failed clip, else 0

Floats = NDArray[np.float64]


def prompt_id(clip: ClipRecord) -> str:
    """Return the id of a clip's prompt."""
    return prompt_of(clip.id, clip.seed)


@dataclass(frozen=True)
class Pairs:
    """Clips of two reports that belong together, as indices (n, 2), and the prompt, or source, of each pair.

    `left_out` counts clips without a partner. `unit` says what is independent: prompts, or the sources of edits.
    """

    indices: NDArray[np.int64]
    prompts: tuple[str, ...]
    left_out: int
    unit: str = "prompts"

    @property
    def groups(self) -> NDArray[np.int64]:
        """The number (n,) of each pair's prompt."""
        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(self.prompts))}
        return np.array([numbers[prompt] for prompt in self.prompts], np.int64)


def pair_clips(base: Sequence[ClipRecord], other: Sequence[ClipRecord]) -> Pairs:
    """Pair clips by id and seed or, where not one seed is common, by prompt in the order of seeds.

    The larger report is cut to what has a partner, which does not depend on chance.
    """
    keys = [{(prompt_id(clip), clip.seed): index for index, clip in enumerate(clips)} for clips in (base, other)]
    common = [key for key in keys[0] if key in keys[1]]
    if common:
        rows = [(keys[0][key], keys[1][key]) for key in common]
    else:
        by_prompt = [_by_prompt(clips) for clips in (base, other)]
        shared = [prompt for prompt in by_prompt[0] if prompt in by_prompt[1]]
        rows = [pair for p in shared for pair in zip(by_prompt[0][p], by_prompt[1][p], strict=False)]
    indices = np.array(rows, np.int64).reshape(-1, 2)
    prompts = tuple(base[first].source or prompt_id(base[first]) for first, _ in rows)
    unit = "sources" if any(base[first].source for first, _ in rows) else "prompts"
    return Pairs(indices, prompts, len(base) + len(other) - 2 * len(rows), unit)


def _by_prompt(clips: Sequence[ClipRecord]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index in sorted(range(len(clips)), key=lambda i: (clips[i].seed is None, clips[i].seed or 0, clips[i].id)):
        found.setdefault(prompt_id(clips[index]), []).append(index)
    order = dict.fromkeys(prompt_id(clip) for clip in clips)
    return {prompt: found[prompt] for prompt in order}


@dataclass(frozen=True)
class PairedValues:
    """Values of a figure in two reports, the mean over the pairs of each prompt (prompts,), or of each source.

    `single` says whether each prompt has one pair. `missing` counts pairs that lack a finite value on a side, but not
    those of clips that do not have the figure at all.
    """

    base: Floats
    other: Floats
    single: bool
    missing: int
    unit: str = "prompts"

    @property
    def differences(self) -> Floats:
        return self.other - self.base

    @property
    def are_labels(self) -> bool:
        """Whether each prompt has one pair of clips that are right or wrong, 1 or 0."""
        return self.single and bool(np.isin([self.base, self.other], (0.0, 1.0)).all())


def paired_values(pairs: Pairs, base: Sequence[ClipRecord], other: Sequence[ClipRecord], figure: str) -> PairedValues:
    """Return the values of a figure by prompt, in the order of the base report."""
    values = np.array(
        [[_value(base[i], figure), _value(other[j], figure)] for i, j in pairs.indices], np.float64
    ).reshape(-1, 2)
    finite = np.isfinite(values).all(axis=1)
    groups, kept = pairs.groups[finite], values[finite]
    used, numbers = np.unique(groups, return_inverse=True)
    counts = np.bincount(numbers, minlength=len(used))
    means = np.stack([np.bincount(numbers, kept[:, side], len(used)) for side in (0, 1)], 1) / counts[:, None]
    applies = [figure == FAILURES or figure in base[i].figures or figure in other[j].figures for i, j in pairs.indices]
    missing = int((np.array(applies, bool) & ~finite).sum())
    return PairedValues(means[:, 0], means[:, 1], bool((counts == 1).all()), missing, pairs.unit)


def _value(clip: ClipRecord, figure: str) -> float:
    if figure == FAILURES:
        return float(bool(clip.failures))
    value: Mapping[str, float] = clip.figures
    return float(value.get(figure, np.nan))


def are_identical(pairs: Pairs, base: Sequence[ClipRecord], other: Sequence[ClipRecord]) -> bool:
    """Return whether all pairs have equal figures and failures, as reports of the same clips do."""
    return all(
        base[i].failures == other[j].failures and repr(base[i].figures) == repr(other[j].figures)
        for i, j in pairs.indices
    )


def common_figures(base: Sequence[ClipRecord], other: Sequence[ClipRecord]) -> list[str]:
    """Return the figures that clips of both reports have, in the order of the base report."""
    names = [dict.fromkeys(name for clip in clips for name in clip.figures) for clips in (base, other)]
    return [name for name in names[0] if name in names[1]]
