"""The synthetic dataset: each seed and index always gives the same labeled, captioned clip."""

from dataclasses import dataclass

import numpy as np

from soundloom.datasets.synthetic.captions import sentence, tag_caption
from soundloom.datasets.synthetic.families import render, sample_labels
from soundloom.datasets.synthetic.held_out import is_held_out
from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE, FloatArray
from soundloom.errors import RequestError

SENTENCES_PER_CLIP = 3  # besides one tag caption
LABELS_STREAM, AUDIO_STREAM, CAPTIONS_STREAM = range(3)


@dataclass(frozen=True)
class SyntheticClip:
    """Audio float32 (2, n) in [-1, 1] with its labels and several captions."""

    audio: FloatArray
    sample_rate: int
    labels: Labels
    captions: tuple[str, ...]


class SyntheticDataset:
    """An endless, reproducible sequence of clips; different seeds give different clips."""

    def __init__(self, seed: int = 0) -> None:
        if not 0 <= seed < 2**62:
            raise RequestError(f"seed {seed} is out of range", "use an integer from 0 to 2^62 - 1")
        self.seed = seed

    def sample(self, index: int, seconds: float | None = None) -> SyntheticClip:
        """Generate clip `index`; without `seconds` its length suits the sound, 1 to 6 s.

        Raises RequestError for a negative index or a length that `render` rejects.
        """
        labels = self.labels(index, seconds)
        return SyntheticClip(self.render(index, labels), SAMPLE_RATE, labels, self.captions(index, labels))

    def render(self, index: int, labels: Labels) -> FloatArray:
        """Render clip `index` (2, n) with its labels, or with modified ones."""
        return render(labels, labels.seconds, self._rng(index, AUDIO_STREAM))

    def labels(self, index: int, seconds: float | None = None) -> Labels:
        """Sample the labels of clip `index`; held-out combinations are resampled."""
        rng = self._rng(index, LABELS_STREAM)
        while is_held_out(labels := sample_labels(rng, seconds)):
            pass
        return labels

    def captions(self, index: int, labels: Labels) -> tuple[str, ...]:
        """Generate the captions of clip `index`: sentences, then one tag caption."""
        rng = self._rng(index, CAPTIONS_STREAM)
        return (*(sentence(labels, rng) for _ in range(SENTENCES_PER_CLIP)), tag_caption(labels, rng))

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        """Return a generator that depends only on seed, index and stream."""
        if not 0 <= index < 2**62:
            raise RequestError(f"there is no clip number {index}", "indices start at 0")
        # The low words of the counter advance within a stream, so the index goes into the highest.
        return np.random.Generator(np.random.Philox(key=[self.seed, stream], counter=[0, 0, 0, index]))
