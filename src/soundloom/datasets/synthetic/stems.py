"""Pieces of music as stems that can be mixed anew, and edits made of them: an instruction with a mix before and after.

Source of tasks, strings and gains: instruct-MusicGen and its paper.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from soundloom.datasets.synthetic import drums, music
from soundloom.datasets.synthetic.signals import FloatArray, samples, smooth_edges

Task = Literal["add", "remove", "extract"]
Stems = dict[str, FloatArray]

# Which family plays each stem, and its peak in decibels below full scale, lowest and highest.
PLAYERS = {
    "Drums": (drums.SOUNDS["drum loop"], (-8, -4)),
    "Bass": (music.SOUNDS["bass line"], (-8, -4)),
    "Chords": (music.SOUNDS["chord progression"], (-12, -8)),
    "Lead": (music.SOUNDS["melody"], (-12, -8)),
}
WORDS: dict[Task, str] = {"add": "Add", "remove": "No", "extract": "Only"}
EDGE_SECONDS = 0.005


@dataclass(frozen=True)
class Edit:
    """What is asked for, and the sound (n,) before and after; `stem` is what the instruction names."""

    task: Task
    stem: str
    before: FloatArray
    after: FloatArray

    @property
    def instruction(self) -> str:
        return instruction(self.task, self.stem)


def instruction(task: Task, stem: str) -> str:
    """Word a task as the published adapter was trained on it."""
    return f"Music piece. Instruct: {WORDS[task]} {stem}."


def render_stems(rng: np.random.Generator, seconds: float) -> Stems:
    """Play a piece: each stem (n,) at 44100 Hz, all in one key and one tempo."""
    drawn = {stem: sound.draw(rng, seconds) for stem, (sound, _) in PLAYERS.items()}
    key, bpm = drawn["Chords"].key, drawn["Drums"].bpm
    stems = {}
    for stem, labels in drawn.items():
        sound, levels = PLAYERS[stem]
        labels = replace(labels, bpm=bpm) if stem == "Drums" else replace(labels, bpm=bpm, key=key)
        played = smooth_edges(sound.render(labels, samples(seconds), rng), EDGE_SECONDS, EDGE_SECONDS)
        peak = 10 ** (rng.uniform(*levels) / 20)
        stems[stem] = (played * (peak / max(np.abs(played).max(), 1e-9))).astype(np.float32)
    return stems


def draw_edit(stems: Stems, rng: np.random.Generator, task: Task | None = None) -> Edit:
    """Choose a stem, one or more companions and, unless given, a task; mix before and after to a common peak."""
    task = task or get_args(Task)[rng.integers(len(get_args(Task)))]
    stem, *others = rng.permutation(list(stems)).tolist()
    companions = others[: rng.integers(1, len(others) + 1)]
    alone, without, together = [stem], companions, [stem, *companions]
    before, after = {"add": (without, together), "remove": (together, without), "extract": (together, alone)}[task]
    gain = len(stems) / len(after if task == "add" else before)
    mixes = [gain * np.sum([stems[name] for name in names], axis=0) for names in (before, after)]
    louder = max(1.0, *(float(np.abs(mix).max()) for mix in mixes))
    return Edit(task, stem, *((mix / louder).astype(np.float32) for mix in mixes))
