"""Endless training clips: any index of a world gives the same labeled, captioned sound on any day."""

from dataclasses import dataclass

import numpy as np

from soundloom.datasets.synthetic.captions import sentence, tag_caption
from soundloom.datasets.synthetic.families import render, sample_labels
from soundloom.datasets.synthetic.held_out import is_held_out
from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE, FloatArray
from soundloom.errors import RequestError

SENTENCES_PER_CLIP = 3  # beside one caption of tags
LABELS_STREAM, SOUND_STREAM, WORDS_STREAM = range(3)


@dataclass(frozen=True)
class SyntheticClip:
    """Audio float32 (2, n) in [-1, 1], what can be heard in it, and several captions that say so."""

    audio: FloatArray
    sample_rate: int
    labels: Labels
    captions: tuple[str, ...]


class SyntheticDataset:
    """A reproducible sequence of clips without end; worlds with different seeds share none."""

    def __init__(self, seed: int = 0) -> None:
        if not 0 <= seed < 2**62:
            raise RequestError(f"seed {seed} is out of range", "take an integer from 0 to 2^62 - 1")
        self.seed = seed

    def sample(self, index: int, seconds: float | None = None) -> SyntheticClip:
        """Clip number `index`; `seconds` None takes the length that suits the sound, 1 to 6 s.

        Raises RequestError for a negative index or a length that `render` refuses.
        """
        labels = self.labels(index, seconds)
        return SyntheticClip(self.render(index, labels), SAMPLE_RATE, labels, self.captions(index, labels))

    def render(self, index: int, labels: Labels) -> FloatArray:
        """Sound (2, n) of clip `index`, or of what was made of its labels."""
        return render(labels, labels.seconds, self._rng(index, SOUND_STREAM))

    def labels(self, index: int, seconds: float | None = None) -> Labels:
        """Labels of clip `index` without rendering it; held-out combinations are drawn again."""
        rng = self._rng(index, LABELS_STREAM)
        while is_held_out(labels := sample_labels(rng, seconds)):
            pass
        return labels

    def captions(self, index: int, labels: Labels) -> tuple[str, ...]:
        """Captions of clip `index`: sentences, then one line of tags."""
        rng = self._rng(index, WORDS_STREAM)
        return (*(sentence(labels, rng) for _ in range(SENTENCES_PER_CLIP)), tag_caption(labels, rng))

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        """Counter-based noise that depends on seed, index and purpose alone."""
        if not 0 <= index < 2**62:
            raise RequestError(f"there is no clip number {index}", "indices begin at 0")
        # The low counter words count draws within the stream, so the index goes into the highest.
        return np.random.Generator(np.random.Philox(key=[self.seed, stream], counter=[0, 0, 0, index]))
