"""The ceiling of the benchmark: what the estimators find in rendered sounds that are exactly what the prompts ask for.

Estimators make errors of their own, above all octave errors of tempos. A model cannot be expected to score higher.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.evaluation.controls.key import key_index, key_name
from soundloom.evaluation.controls.pitch import pitch_hz
from soundloom.evaluation.controls.prompts import ControlPrompt

KEY_BPM = 100  # of the pieces in a key
STYLES = ("house", "techno", "hip hop", "rock", "funk", "latin")
WAVES = ("sine", "triangle", "sawtooth", "square")
PLUCKS = ("guitar", "harp")
KEYED = {"piano chord progression": ("chord progression", "piano"), "acoustic guitar melody": ("melody", "guitar")}


def reference_labels(prompt: ControlPrompt) -> Labels | None:
    """Return the labels of the synthetic sound that a prompt describes; None where there is no such sound."""
    words = prompt.text
    if prompt.control in ("tempo", "loop"):
        style = next((name for name in STYLES if words.startswith(f"{name} drum loop")), None)
        return Labels("drum loop", style, bpm=float(prompt.asked), material="electronic") if style else None
    if prompt.control == "key":
        for start, (family, voice) in KEYED.items():
            if words.startswith(start):
                return Labels(family, voice, key=key_name(key_index(prompt.asked)), bpm=KEY_BPM)
    if prompt.control == "pitch":
        for names, family in ((WAVES, "tone"), (PLUCKS, "pluck")):
            for name in names:
                if words.startswith(f"a {name} "):
                    return Labels(family, name, hz=pitch_hz(prompt.asked))
    return None


def rendered(prompt: ControlPrompt, seconds: float) -> Clip | None:
    """Render the sound that a prompt describes; None where there is no such sound. Equal prompts sound the same."""
    labels = reference_labels(prompt)
    if labels is None:
        return None
    rng = np.random.Generator(np.random.Philox(key=crc32(prompt.id.encode())))
    return Clip(render(labels, min(max(seconds, 0.2), 60.0), rng), SAMPLE_RATE)
