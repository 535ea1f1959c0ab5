"""Blind trials: clips of several reports side by side, equally loud, in an order that does not tell which is which.

Trials are chosen by the hashes of ids, not by anybody's taste, and every pair of reports gets equally many.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from soundloom.atomic import atomic_path, make_folder
from soundloom.audio.loudness import integrated_loudness
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.errors import AudioError, SoundloomError, printable
from soundloom.evaluation.reports.compare import Source
from soundloom.evaluation.reports.pairs import pair_clips

TRIALS_FOLDER = "trials"
TRIALS = 12
QUIETEST = 10 ** (-24 / 20)  # the smallest gain

Kind = Literal["pairwise", "marks"]


@dataclass(frozen=True)
class Version:
    """A clip of a trial: the number of its report, its file relative to the page, and the gain that it is played at."""

    report: int
    file: str
    gain: float


@dataclass(frozen=True)
class Trial:
    """Versions of a clip, in the order in which they are shown."""

    id: str
    prompt: str
    versions: tuple[Version, ...]


def make_trials(sources: Sequence[Source], folder: Path, kind: Kind = "pairwise", limit: int = TRIALS) -> list[Trial]:
    """Copy the sounds of trials to `folder` and return the trials; none where reports have no sounds in common.

    A pairwise trial has two versions, one of marks has one of each report. Gains turn louder versions down to the
    loudness of the quietest. Sounds that cannot be read are passed over.
    """
    chosen = sorted(_common_clips(sources), key=lambda clips: _hash(sources[0].report.clips[clips[0]].id))
    pairs = list(combinations(range(len(sources)), 2))
    found: list[Trial] = []
    for clips in chosen:
        if len(found) == limit:
            break
        reports = pairs[len(found) % len(pairs)] if kind == "pairwise" else tuple(range(len(sources)))
        paths = [sources[i].folder / str(sources[i].report.clips[clips[i]].audio) for i in reports]
        try:
            gains = matched_gains(paths)
        except SoundloomError:
            continue
        first = sources[0].report.clips[clips[0]]
        number = f"{len(found) + 1:03d}"
        versions = [
            Version(report, _copy(path, folder, f"{number}/{report}"), gain)
            for report, path, gain in zip(reports, paths, gains, strict=True)
        ]
        order = np.random.Generator(np.random.Philox(key=int(_hash(f"{first.id}/{number}")[:15], 16)))
        order_of = order.permutation(len(versions))
        found.append(Trial(number, first.prompt or first.id, tuple(versions[i] for i in order_of)))
    return found


def _common_clips(sources: Sequence[Source]) -> list[tuple[int, ...]]:
    """Return the indices of clips that all reports have with a sound, for each prompt the first."""
    base = sources[0].report.clips
    partners: dict[int, tuple[int, ...]] = {index: (index,) for index, clip in enumerate(base) if clip.audio}
    for source in sources[1:]:
        clips = source.report.clips
        pairs = {int(i): int(j) for i, j in pair_clips(base, clips).indices if clips[int(j)].audio}
        partners = {index: (*found, pairs[index]) for index, found in partners.items() if index in pairs}
    return list(partners.values())


def matched_gains(paths: Sequence[Path]) -> list[float]:
    """Return the gains, 0 to 1, that give sounds the loudness of the quietest, or its power where one is too short.

    Silent sounds keep a gain of 1. Raises AudioError.
    """
    clips = [StreamedClip.open(path) for path in paths]
    levels = [integrated_loudness(clip.stream(), clip.sample_rate) for clip in clips]
    if not np.isfinite(levels).all():
        levels = [_power(clip) for clip in clips]
    lowest = min((level for level in levels if np.isfinite(level)), default=0.0)
    gains = [10 ** ((lowest - level) / 20) if np.isfinite(level) else 1.0 for level in levels]
    return [round(float(min(max(gain, QUIETEST), 1.0)), 4) for gain in gains]


def _power(clip: StreamedClip) -> float:
    """Return the power of a clip in dB, -inf for silence."""
    total = sum(float((block.astype(np.float64) ** 2).sum()) for block in clip.stream().blocks())
    return float(10 * np.log10(total / (clip.samples * clip.channels))) if total else float("-inf")


def _copy(path: Path, folder: Path, key: str) -> str:
    """Copy a sound under a name that does not say which report it is from."""
    name = f"{TRIALS_FOLDER}/{_hash(key)[:12]}{path.suffix.lower()}"
    make_folder(folder / TRIALS_FOLDER)
    with atomic_path(folder / name) as new:
        try:
            shutil.copyfile(path, new)
        except OSError as error:
            raise AudioError(f"{printable(path)} cannot be read: {error.strerror}") from error
    return name


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
