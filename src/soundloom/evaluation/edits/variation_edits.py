"""Variations of sounds: their requests, and what of its source each kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.evaluation.alignment import unit
from soundloom.evaluation.edits.embedding import SpanEmbedder, Vectors
from soundloom.evaluation.edits.sources import Source
from soundloom.evaluation.edits.variation import (
    chroma_similarity,
    chromagram,
    course_correlation,
    find_onsets,
    loudness_course,
    onset_f_measure,
)
from soundloom.evaluation.embedders.base import TextEmbedder

FIGURES = ("embedding", "chroma", "onsets", "loudness")
TARGET = "target"

Figures = dict[str, float]


@dataclass(frozen=True)
class Variation:
    """A variation of a source toward the caption of `target`; without a level, a clip from that caption alone."""

    number: int  # of the source
    source: Source
    target: Source
    level: float | None
    seed: int

    def request(self, steps: int | None) -> GenerationRequest:
        """Return the request that makes this variation."""
        prompt, source = self.target.caption, self.source
        if self.level is None:
            return GenerationRequest(prompt, seconds=source.samples / source.rate, seed=self.seed, steps=steps)
        return GenerationRequest(prompt, source=source.clip, noise=self.level, seed=self.seed, steps=steps)

    @property
    def id(self) -> str:
        if self.level is None:
            return f"prompt beside {self.source.id}"
        return f"{self.source.id} varied at {self.level:g}"


class SourceFeatures:
    """What variations of a source are compared with, computed once."""

    def __init__(self, source: Source, embed: SpanEmbedder, target: Vectors | None) -> None:
        """`target` (d,) is the vector that variations should approach."""
        self.embed, self.target = embed, target
        self.vector = embed.mean(source.audio, source.rate)
        self.chroma = chromagram(source.audio, source.rate)
        self.onsets = find_onsets(source.audio, source.rate)
        self.course = loudness_course(source.audio, source.rate)

    def compare(self, audio: NDArray[np.float32], rate: int) -> Figures:
        """Return what a clip keeps of the source, each of `FIGURES`, and its cosine with the target."""
        vector = self.embed.mean(audio, rate)
        return {
            "embedding": _cosine(vector, self.vector),
            "chroma": chroma_similarity(self.chroma, chromagram(audio, rate)),
            "onsets": onset_f_measure(self.onsets, find_onsets(audio, rate)),
            "loudness": course_correlation(self.course, loudness_course(audio, rate)),
            TARGET: _cosine(vector, self.target),
        }

    @property
    def before(self) -> float:
        """The cosine of the untouched source with the target."""
        return _cosine(self.vector, self.target)


def _cosine(a: Vectors | None, b: Vectors | None) -> float:
    return float("nan") if a is None or b is None else float(unit(a) @ unit(b))


def target_vectors(sources: Sequence[Source], embed: SpanEmbedder) -> list[Vectors | None]:
    """Return what variations should approach: the caption in a text embedder's space, else the sound it describes."""
    embedder = embed.embedder
    if isinstance(embedder, TextEmbedder):
        texts = [embed.recipe.text_of(source.caption) for source in sources]
        return list(embedder.embed_text(texts).astype(np.float64))
    return [embed.mean(source.audio, source.rate) for source in sources]
