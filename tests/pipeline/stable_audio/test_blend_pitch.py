"""Tones of mini follow the heavier of two prompts, and curves lead from one to the other.

`pytest -m slow -s tests/pipeline/stable_audio/test_blend_pitch.py` prints the shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from soundloom import GenerationRequest, load
from soundloom.audio.clip import Clip

pytestmark = pytest.mark.slow

PAIRS = 48
GOAL = 0.8
NEAR = 60  # cents
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
WORDINGS = ("a {wave} tone in {note}", "a {wave} wave tuned to {note}", "{wave} tone, note {note}, {side}")


@dataclass(frozen=True)
class Tone:
    prompt: str
    hz: float


def random_tone(rng: np.random.Generator, without: Tone | None = None) -> Tone:
    """Return a tone from C3 to C6, at least two semitones from another one, in one of several wordings."""
    while True:
        number = int(rng.integers(48, 85))  # of MIDI
        hz = 440 * 2 ** ((number - 69) / 12)
        if without is None or abs(cents(hz, without.hz)) >= 200:
            break
    wave, side = rng.choice(("sine", "triangle", "square", "sawtooth")), rng.choice(("left", "right"))
    note = f"{NAMES[number % 12]}{number // 12 - 1}"
    return Tone(str(rng.choice(WORDINGS)).format(wave=wave, note=note, side=side), hz)


def cents(hz: float, reference: float) -> float:
    return float(1200 * np.log2(hz / reference))


def pitch(clip: Clip, start: float = 0.0, end: float | None = None) -> float:
    """Return the strongest frequency of a part in seconds; the fundamental is the strongest partial of all waves."""
    rate = clip.sample_rate
    part = clip.audio.sum(axis=0)[round(start * rate) : None if end is None else round(end * rate)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 4 * len(part)))
    return float(np.argmax(spectrum) * rate / (4 * len(part)))


@pytest.fixture(scope="module")
def model() -> Any:
    return load("mini", keep_loaded=True)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Tone, Tone]]:
    rng = np.random.default_rng(22)
    firsts = [random_tone(rng) for _ in range(PAIRS)]
    return [(first, random_tone(rng, first)) for first in firsts]


def blended(model: Any, pairs: list[tuple[Tone, Tone]], **options: Any) -> list[Clip]:
    clips: list[Clip] = model.run(
        [
            GenerationRequest(first.prompt, prompt_b=second.prompt, seed=seed, **options)
            for seed, (first, second) in enumerate(pairs)
        ]
    )
    return clips


@pytest.mark.parametrize("mix", [0.2, 0.3, 0.35, 0.65, 0.7, 0.8])
def test_the_pitch_follows_the_heavier_prompt(model: Any, pairs: list[tuple[Tone, Tone]], mix: float) -> None:
    follows = []
    for clip, (first, second) in zip(blended(model, pairs, mix=mix, seconds=1.5), pairs, strict=True):
        heavier, lighter = (first, second) if mix < 0.5 else (second, first)
        hz = pitch(clip)
        follows.append(abs(cents(hz, heavier.hz)) < NEAR < abs(cents(hz, lighter.hz)))
    print(f"mix {mix}: {np.mean(follows):.0%} of {PAIRS} pairs have the pitch of the heavier prompt")
    assert np.mean(follows) >= GOAL


@pytest.mark.parametrize("curve", [((0, 0), (3, 1)), ((1, 0), (2, 1)), ((0, 1), (3, 0))])
def test_a_curve_leads_from_one_pitch_to_the_other(model: Any, pairs: list[tuple[Tone, Tone]], curve: Any) -> None:
    begins, ends = [], []
    for clip, (first, second) in zip(blended(model, pairs, mix=curve, seconds=3), pairs, strict=True):
        start, end = (first, second) if curve[0][1] == 0 else (second, first)
        begins.append(abs(cents(pitch(clip, 0, 0.75), start.hz)) < NEAR)
        ends.append(abs(cents(pitch(clip, 2.25), end.hz)) < NEAR)
    print(f"curve {curve}: {np.mean(begins):.0%} begin with the first pitch, {np.mean(ends):.0%} end with the second")
    assert min(np.mean(begins), np.mean(ends)) >= GOAL
