"""Measure how often `measure` is right, wrong and unsure: python benchmarks/measurement.py [CLIPS]

Prints a table for random music of a soundfont (needs fluidsynth and FluidR3_GM.sf2) and of the synthetic dataset, and
for sounds without tempo and key. The weights were fitted to clips of other seeds (`fit_measurement.py`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.labeled_clips import (
    LabeledClip,
    held_chords,
    soundfont_clips,
    soundfont_notes,
    synthetic_clips,
    unsure_clips,
)
from benchmarks.midi import MISSING, has_soundfont
from soundloom.audio.measure import Measurement, measure
from soundloom.datasets.synthetic.labels import NOTE_NAMES

CLIPS = 200  # of each set; seeds from 0, which are not fitted
TEMPO_TOLERANCE = 0.04
ONSET_TOLERANCE = 0.05  # seconds
SAME_ONSET = 0.03  # seconds within which notes of a chord start


@dataclass(frozen=True)
class Result:
    """A clip without its audio, what was measured, and how long that took."""

    clip: LabeledClip
    found: Measurement
    seconds: float


@dataclass(frozen=True)
class Shares:
    """Shares of clips: with an answer, and right among those (for keys, the mean MIREX score)."""

    clips: int
    answered: float
    right: float

    def __str__(self) -> str:
        return f"{self.answered:6.1%} answered, {self.right:.3f} right" if self.clips else "-"


def measured(clips: Iterable[LabeledClip]) -> Iterator[Result]:
    for clip in clips:
        start = time.perf_counter()
        found = measure(clip.audio, clip.rate)
        yield Result(clip, found, time.perf_counter() - start)


def tempo_shares(results: Sequence[Result]) -> Shares:
    """Accuracy1 of the clips that have a tempo."""
    timed = [r for r in results if r.clip.tempo is not None]
    given = [r for r in timed if r.found.tempo is not None]
    right = [abs(r.found.tempo / r.clip.tempo - 1) <= TEMPO_TOLERANCE for r in given]
    return _shares(len(timed), right)


def key_shares(results: Sequence[Result]) -> Shares:
    """MIREX score of the clips that have a key."""
    keyed = [r for r in results if r.clip.key is not None]
    scores = [mirex_score(r.found.key, r.clip.key) for r in keyed if r.found.key is not None]
    return _shares(len(keyed), scores)


def pitch_shares(results: Sequence[Result]) -> Shares:
    """Pitches within half a semitone, of the single notes."""
    notes = [r for r in results if r.clip.pitch]
    right = [abs(12 * np.log2(r.found.pitch / r.clip.pitch)) < 0.5 for r in notes if r.found.pitch is not None]
    return _shares(len(notes), right)


def _shares(clips: int, scores: Sequence[float]) -> Shares:
    return Shares(clips, len(scores) / max(clips, 1), float(np.mean(scores)) if scores else float("nan"))


def unsure_share(results: Sequence[Result], name: str) -> float:
    """Share of clips for which a property is unsure."""
    return float(np.mean([getattr(r.found, name) is None for r in results]))


def mirex_score(found: str, true: str) -> float:
    """Score of a key: 1 exact, 0.5 a fifth above, 0.3 relative, 0.2 parallel, else 0, as in mir_eval."""
    (a, mode_a), (b, mode_b) = found.split(), true.split()
    step = (NOTE_NAMES.index(a) - NOTE_NAMES.index(b)) % 12
    if mode_a == mode_b:
        return {0: 1.0, 7: 0.5}.get(step, 0.0)
    relative = 9 if mode_b == "major" else 3
    return 0.3 if step == relative else 0.2 if step == 0 else 0.0


def onset_score(found: Sequence[float], true: Sequence[float]) -> float:
    """F-measure of onsets; notes that start together count once."""
    true = [t for t, before in zip(true, [-1.0, *true], strict=False) if t - before > SAME_ONSET]
    left, hits = list(found), 0
    for t in true:
        near = [f for f in left if abs(f - t) <= ONSET_TOLERANCE]
        if near:
            left.remove(min(near, key=lambda f: abs(f - t)))
            hits += 1
    return 2 * hits / max(len(found) + len(true), 1)


def print_music(name: str, results: Sequence[Result]) -> None:
    print(f"{name}: {len(results)} clips")
    print(f"  tempo (Accuracy1, 4 %)  {tempo_shares(results)}")
    print(f"  key (MIREX score)       {key_shares(results)}")
    groups: dict[str, Callable[[Result], bool]] = {
        "2 to 4 s": lambda r: r.clip.seconds < 4,
        "4 to 8 s": lambda r: 4 <= r.clip.seconds < 8,
        "8 to 12 s": lambda r: r.clip.seconds >= 8,
    }
    for title, belongs in groups.items():
        part = [r for r in results if belongs(r)]
        print(f"  {title:<10} {len(part):4}  tempo {tempo_shares(part)}   key {key_shares(part)}")
    drums = [r for r in results if r.clip.key is None]
    if drums:
        print(f"  drums alone {len(drums):3}  key unsure {unsure_share(drums, 'key'):.1%}")
    if any(r.clip.onsets for r in results):
        print(f"  onsets (F, 50 ms)       {np.mean([onset_score(r.found.onsets, r.clip.onsets) for r in results]):.3f}")


def print_unsure(results: Sequence[Result]) -> None:
    print(f"{'sounds without tempo and key':<34} clips  unsure of tempo  of key")
    for what in dict.fromkeys(r.clip.what for r in results):
        part = [r for r in results if r.clip.what == what]
        print(f"  {what:<32} {len(part):5}  {unsure_share(part, 'tempo'):15.1%}  {unsure_share(part, 'key'):6.1%}")
    print(
        f"  {'all':<32} {len(results):5}  {unsure_share(results, 'tempo'):15.1%}  {unsure_share(results, 'key'):6.1%}"
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS
    seeds = range(count)
    synthetic = list(measured(synthetic_clips(seeds)))
    chords = list(measured(held_chords(range(count // 4))))
    unsure = list(measured(unsure_clips(seeds)))
    everything = [*synthetic, *chords, *unsure]
    if has_soundfont():
        loops = list(measured(soundfont_clips(seeds)))
        print_music("soundfont", loops)
        notes = list(measured(soundfont_notes(range(count // 4))))
        print(f"single notes of the soundfont: pitch {pitch_shares(notes)}")
        unsure += notes
        everything += [*loops, *notes]
    else:
        print(f"soundfont: skipped, because {MISSING}")
    print_music("synthetic dataset", synthetic)
    print(f"held chords: key {key_shares(chords)}, tempo unsure {unsure_share(chords, 'tempo'):.1%}")
    print_unsure(unsure)
    cost = sum(r.seconds for r in everything) / sum(r.clip.seconds for r in everything)
    print(f"measured in {10 * cost:.2f} s per 10 s of audio")


if __name__ == "__main__":
    main()
