"""Render music as stems, and sample edits: an instruction with a mix before and after.

Source of tasks, strings and gains: instruct-MusicGen and its paper.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from soundloom.datasets.synthetic.sounds import drums, music
from soundloom.datasets.synthetic.sounds.signals import FloatArray, add_at, band, noise, phase, samples, smooth_edges

Task = Literal["add", "remove", "extract"]
Kind = Literal["music", "bands"]
Stems = dict[str, FloatArray]

# The family that plays each stem, and the range of its peak in dBFS.
PLAYERS = {
    "Drums": (drums.SOUNDS["drum loop"], (-8, -4)),
    "Bass": (music.SOUNDS["bass line"], (-8, -4)),
    "Chords": (music.SOUNDS["chord progression"], (-12, -8)),
    "Lead": (music.SOUNDS["melody"], (-12, -8)),
}
STEMS = tuple(PLAYERS)
TASK_VERBS: dict[Task, str] = {"add": "Add", "remove": "No", "extract": "Only"}
EDGE_SECONDS = 0.005

# The easiest separation task: stems in disjoint frequency bands that are silent most of the time.
CENTERS = {"Drums": 9000.0, "Bass": 90.0, "Chords": 450.0, "Lead": 2000.0}  # Hz
SLOT_SECONDS = 1 / 12  # notes start and end at multiples of it
NOTE_SLOTS = (1, 3)  # shortest and longest note
NOTE_SHARE = 0.4  # of free slots at which a note starts
LEVELS = (0.05, 0.12, 0.3)  # peaks


@dataclass(frozen=True)
class StemEdit:
    """An edit: the task, the stem that the instruction names, and the mix (n,) before and after."""

    task: Task
    stem: str
    before: FloatArray
    after: FloatArray

    @property
    def instruction(self) -> str:
        return instruction(self.task, self.stem)


def instruction(task: Task, stem: str) -> str:
    """Return the instruction in the wording that the published adapter was trained on."""
    return f"Music piece. Instruct: {TASK_VERBS[task]} {stem}."


def render_stems(rng: np.random.Generator, seconds: float, kind: Kind = "music") -> Stems:
    """Render stems (n,) at 44100 Hz, in one key and tempo, or in disjoint bands."""
    if kind == "bands":
        return {stem: _play_band(rng, samples(seconds), center) for stem, center in CENTERS.items()}
    sampled = {stem: sound.sample(rng, seconds) for stem, (sound, _) in PLAYERS.items()}
    key, bpm = sampled["Chords"].key, sampled["Drums"].bpm
    stems = {}
    for stem, labels in sampled.items():
        sound, levels = PLAYERS[stem]
        labels = replace(labels, bpm=bpm) if stem == "Drums" else replace(labels, bpm=bpm, key=key)
        played = smooth_edges(sound.render(labels, samples(seconds), rng), EDGE_SECONDS, EDGE_SECONDS)
        peak = 10 ** (rng.uniform(*levels) / 20)
        stems[stem] = (played * (peak / max(np.abs(played).max(), 1e-9))).astype(np.float32)
    return stems


def _play_band(rng: np.random.Generator, n: int, center: float) -> FloatArray:
    """Random short notes and rests around one frequency, (n,); the highest band is noise."""
    slot, start = samples(SLOT_SECONDS), 0
    played = np.zeros(n, np.float32)
    while start < n:
        if rng.random() < NOTE_SHARE:
            length = slot * int(rng.integers(NOTE_SLOTS[0], NOTE_SLOTS[1] + 1))
            add_at(played, float(rng.choice(LEVELS)) * _note(rng, length, center), start)
            start += length
        start += slot
    return played


def _note(rng: np.random.Generator, n: int, center: float) -> FloatArray:
    if center == max(CENTERS.values()):
        sound = noise(n, rng, band(center, 0.3), channels=1)[0]
        sound /= np.abs(sound).max()
    else:
        sound = np.sin(phase(center * 2 ** rng.uniform(-0.3, 0.3), n))
    return smooth_edges(sound, EDGE_SECONDS, EDGE_SECONDS)


def sample_edit(stems: Stems, rng: np.random.Generator, task: Task | None = None) -> StemEdit:
    """Sample a stem, one or more other stems and, unless given, a task; mix before and after at one gain."""
    task = task or get_args(Task)[rng.integers(len(get_args(Task)))]
    stem, *others = rng.permutation(list(stems)).tolist()
    backing = others[: rng.integers(1, len(others) + 1)]
    full = [stem, *backing]
    before, after = {"add": (backing, full), "remove": (full, backing), "extract": (full, [stem])}[task]
    gain = len(stems) / len(after if task == "add" else before)
    mixes = [gain * np.sum([stems[name] for name in names], axis=0) for names in (before, after)]
    peak = max(1.0, *(float(np.abs(mix).max()) for mix in mixes))
    return StemEdit(task, stem, *((mix / peak).astype(np.float32) for mix in mixes))
