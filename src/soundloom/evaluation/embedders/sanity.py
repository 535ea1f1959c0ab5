"""Check that an embedder tells sounds apart before any of its figures is believed.

Some published conversions place all sounds, or all texts, at nearly the same point: their distances and scores look
ordinary and mean nothing. The check needs no data: a tone, noise, silence, a plucked chord and a beat, with captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from soundloom.errors import CheckpointError
from soundloom.evaluation.embedders.base import Embedder, Floats, TextEmbedder

LARGEST_COSINE = 0.95
CAPTIONS = {
    "tone": "a steady beep, a sine tone",
    "noise": "white noise, static hiss",
    "chord": "a guitar chord, strings being plucked",
    "beat": "a drum machine playing a beat",
}
_CHORD = (110.0, 164.81, 220.0, 277.18, 329.63)  # Hz, A major
_HALF_LIFE = 0.4  # seconds
_BEATS = 2.0  # per second


@dataclass(frozen=True)
class Separation:
    """The largest cosine of two unlike sounds, and of two unlike captions, with their names.

    `preference` is the mean score of captions with their own sounds minus that with the others; None without texts.
    """

    cosine: float
    pair: tuple[str, str]
    text_cosine: float | None = None
    text_pair: tuple[str, str] | None = None
    preference: float | None = None

    def faults(self) -> list[str]:
        """Return what makes an embedder unfit, as parts of a sentence."""
        found = []
        if not self.cosine < LARGEST_COSINE:
            found.append(f"{' and '.join(self.pair)} have the cosine {self.cosine:.3f}")
        if self.text_cosine is not None and self.text_pair and not self.text_cosine < LARGEST_COSINE:
            found.append(f"the captions of {' and '.join(self.text_pair)} have the cosine {self.text_cosine:.3f}")
        if self.preference is not None and not self.preference > 0:
            found.append(f"captions prefer foreign sounds to their own by {-self.preference:.3f}")
        return found


def separation(embedder: Embedder) -> Separation:
    """Embed unlike sounds, and captions if the embedder takes text, and compare them."""
    sounds = unlike_sounds(embedder.info.rate, embedder.info.window)
    windows = np.stack(list(sounds.values()))
    if embedder.info.channels > 1:
        windows = np.repeat(windows[:, None], embedder.info.channels, axis=1)
    vectors = dict(zip(sounds, _unit(embedder.embed(windows)), strict=True))
    cosine, pair = _largest(vectors)
    if not isinstance(embedder, TextEmbedder):
        return Separation(cosine, pair)
    texts = dict(zip(CAPTIONS, _unit(embedder.embed_text(list(CAPTIONS.values()))), strict=True))
    scores = np.array([[float(text @ vectors[name]) for name in CAPTIONS] for text in texts.values()])
    own = np.eye(len(scores), dtype=bool)
    return Separation(cosine, pair, *_largest(texts), float(scores[own].mean() - scores[~own].mean()))


def require_sane(embedder: Embedder) -> Separation:
    """Return the separation of an embedder. Raises CheckpointError if it is unfit."""
    found = separation(embedder)
    if faults := found.faults():
        raise CheckpointError(
            f"{embedder.info.name} does not tell sounds apart, so its figures would mean nothing: {'; '.join(faults)}",
            "use another embedder: soundloom eval fetch --list",
        )
    return found


def unlike_sounds(rate: int, samples: int) -> dict[str, Floats]:
    """Return unlike mono sounds (samples,) by name."""
    times = np.arange(samples) / rate
    noise = np.random.Generator(np.random.Philox(0)).standard_normal(samples)
    chord = sum(np.sin(2 * np.pi * pitch * times) for pitch in _CHORD) * np.exp2(-(times % 2.0) / _HALF_LIFE)
    since_beat = times % (1 / _BEATS)
    kick = np.sin(2 * np.pi * (50 * since_beat + 5 * (1 - np.exp(-40 * since_beat)))) * np.exp(-12 * since_beat)
    hat = noise * np.exp(-80 * ((times + 0.25) % (1 / _BEATS)))
    sounds = {
        "tone": np.sin(2 * np.pi * 1000 * times),
        "noise": noise,
        "silence": np.zeros(samples),
        "chord": chord,
        "beat": kick + 0.1 * hat,
    }
    return {
        name: np.asarray(0.5 * sound / max(np.abs(sound).max(), 1e-9), np.float32) for name, sound in sounds.items()
    }


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))


def _largest(vectors: dict[str, Floats]) -> tuple[float, tuple[str, str]]:
    """Return the largest cosine of two vectors and their names; a value that is not finite counts as the largest."""
    cosines = {pair: float(vectors[pair[0]] @ vectors[pair[1]]) for pair in combinations(vectors, 2)}
    pair = max(cosines, key=lambda pair: (not np.isfinite(cosines[pair]), cosines[pair]))
    return cosines[pair], pair
