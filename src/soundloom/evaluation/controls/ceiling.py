"""The ceiling of the benchmark: what the estimators find in rendered sounds that are exactly what the prompts ask for.

Estimators make errors of their own, above all octave errors of tempos. A model cannot be expected to score higher.
"""

from __future__ import annotations

import re
from dataclasses import replace
from zlib import crc32

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.evaluation.controls.key import key_index, key_name
from soundloom.evaluation.controls.pitch import pitch_hz
from soundloom.evaluation.controls.prompts import ControlPrompt

KEY_BPM = 100  # of the pieces in a key
SIDE_PAN = 0.75
SIREN_RATE = 0.5  # cycles per second
MIN_SECONDS, MAX_SECONDS = 0.1, 60.0  # that can be rendered
STYLES = ("house", "techno", "hip hop", "rock", "funk", "latin")
WAVES = ("sine", "triangle", "sawtooth", "square")
PLUCKS = ("guitar", "harp")
KEYED = {"piano chord progression": ("chord progression", "piano"), "acoustic guitar melody": ("melody", "guitar")}
LOOPS = {"kick drum loop": "kick", "a snare drum loop": "snare", "hi-hat loop": "closed hi-hat"}
OTHERS = {
    "steady rain": ("rain", "steady"),
    "heavy rain": ("rain", "heavy"),
    "white noise": ("noise", "white"),
    "a siren": ("siren", "wailing"),
}
TEMPO = re.compile(r"(\d+) BPM")
PITCH = re.compile(r"(?:at|in) (\d+ Hz|[A-G][#b]?-?\d)\b")
SIDES = {"on the left": -SIDE_PAN, "on the right": SIDE_PAN}


def reference_labels(prompt: ControlPrompt) -> Labels | None:
    """Return the labels of the synthetic sound that a prompt describes; None where there is no such sound."""
    labels = _sound(prompt.text)
    if labels is None:
        return None
    pan = next((pan for side, pan in SIDES.items() if prompt.text.endswith(side)), 0.0)
    return replace(labels, pan=pan)


def _sound(text: str) -> Labels | None:
    tempo, pitch = TEMPO.search(text), PITCH.search(text)
    bpm = float(tempo[1]) if tempo else 120.0
    for start, (family, voice) in KEYED.items():
        if text.startswith(f"{start} in "):
            return Labels(family, voice, key=key_name(key_index(text.removeprefix(f"{start} in "))), bpm=KEY_BPM)
    for style in STYLES:
        if text.startswith(f"{style} drum loop"):
            return Labels("drum loop", style, bpm=bpm, material="electronic")
    for start, drum in LOOPS.items():
        if text.startswith(start):
            return Labels("single drum loop", drum, bpm=bpm, material="electronic")
    for start, (family, variant) in OTHERS.items():
        if text.startswith(start):
            return Labels(family, variant, rate=SIREN_RATE if family == "siren" else 0.0)
    names = {f"a {name} wave ": ("tone", name) for name in WAVES} | {
        f"a {name} note ": ("pluck", name) for name in PLUCKS
    }
    for start, (family, name) in names.items():
        if text.startswith(start) and pitch:
            return Labels(family, name, hz=pitch_hz(pitch[1]))
    return None


def rendered(prompt: ControlPrompt, seconds: float) -> Clip | None:
    """Render the sound that a prompt describes; None where there is no such sound. Equal prompts sound the same."""
    labels = reference_labels(prompt)
    if labels is None or not MIN_SECONDS < seconds <= MAX_SECONDS:
        return None
    rng = np.random.Generator(np.random.Philox(key=crc32(prompt.id.encode())))
    return Clip(render(labels, seconds, rng), SAMPLE_RATE)
