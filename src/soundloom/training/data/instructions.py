"""Sample edits of synthetic pieces with their instructions, as tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import numpy as np

from soundloom.datasets.synthetic.sounds.stems import StemEdit, Stems, render_stems, sample_edit
from soundloom.training.config import InstructTrainingConfig
from soundloom.training.loop.rng import RngStream

CACHED_PIECES = 128


class InstructionDataset(ABC):
    """Edits of synthetic pieces; subclasses encode audio and instructions."""

    def __init__(self, config: InstructTrainingConfig) -> None:
        self.config = config
        self._cached = lru_cache(maxsize=CACHED_PIECES)(self._numbered)

    @abstractmethod
    def encode(self, sounds: np.ndarray) -> np.ndarray:
        """Return tokens (b, q, t) of mono sounds (b, n) at 44100 Hz."""

    @abstractmethod
    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings (b, l, width) and mask (b, l) of instructions."""

    def sample(self, stream: RngStream) -> tuple[list[StemEdit], np.ndarray, np.ndarray]:
        """Return a batch of edits with their tokens before and after, (b, q, t)."""
        edits = [sample_edit(self.piece(stream.rng), stream.rng) for _ in range(self.config.batch_size)]
        return edits, self.encode(np.stack([e.before for e in edits])), self.encode(np.stack([e.after for e in edits]))

    def piece(self, rng: np.random.Generator) -> Stems:
        """Return a new piece, or one of the fixed number of training pieces."""
        if not self.config.pieces:
            return self.render(rng)
        return self._cached(int(rng.integers(self.config.pieces)))

    def _numbered(self, number: int) -> Stems:
        key = np.array([self.config.loop.seed, number], dtype=np.uint64)
        return self.render(np.random.Generator(np.random.Philox(key=key)))

    def render(self, rng: np.random.Generator) -> Stems:
        """Render a piece of the configured kind and length."""
        return render_stems(rng, self.config.seconds, self.config.stems)
