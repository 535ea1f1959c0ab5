"""Embed parts of clips that are at hand as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import AudioError
from soundloom.evaluation.controls.tags import tag_probabilities
from soundloom.evaluation.edits.kept import Span
from soundloom.evaluation.embedders.base import Classifier, Embedder, Floats
from soundloom.evaluation.frontend import batches, prepare
from soundloom.evaluation.recipes import Recipe

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class SpanEmbedder:
    """An embedder under a recipe."""

    embedder: Embedder
    recipe: Recipe

    def window(self, rate: int) -> int:
        """Return the length of a window in samples of a sound at this rate."""
        info = self.embedder.info
        return round((self.recipe.window or info.window / info.rate) * rate)

    def windows(self, audio: NDArray, rate: int) -> Vectors:
        """Return the vectors (windows, d) of a sound (c, n); none for a silent or too short one."""
        return self._run(self.embedder.embed, audio, rate, self.embedder.info.dimensions)

    def tags(self, audio: NDArray, rate: int) -> dict[str, float]:
        """Return the mean probability over windows of each class that a classifier names; none for silence."""
        if not isinstance(self.embedder, Classifier):
            return {}
        labels = self.embedder.info.labels
        logits = self._run(self.embedder.classify, audio, rate, len(labels))
        return dict(zip(labels, tag_probabilities(logits).tolist(), strict=True)) if len(logits) else {}

    def _run(self, network: Callable[[Floats], Floats], audio: NDArray, rate: int, width: int) -> Vectors:
        info = self.embedder.info
        try:
            windows = prepare(audio, rate, info, self.recipe)
        except AudioError:
            return np.zeros((0, width))
        return np.concatenate([network(batch) for batch in batches(windows, info.batch)]).astype(np.float64)

    def spans(self, audio: NDArray, rate: int, spans: Sequence[Span]) -> Vectors:
        """Return the vectors of parts of a sound, in one array."""
        found = [self.windows(audio[:, start:end], rate) for start, end in spans]
        return np.concatenate([np.zeros((0, self.embedder.info.dimensions)), *found])

    def mean(self, audio: NDArray, rate: int, spans: Sequence[Span] = ()) -> Vectors | None:
        """Return the mean vector (d,) of a sound or of parts of it; None for silence."""
        found = self.spans(audio, rate, spans) if spans else self.windows(audio, rate)
        return found.mean(axis=0) if len(found) else None
