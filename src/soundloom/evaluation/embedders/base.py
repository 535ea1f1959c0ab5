"""What an embedder is: a fixed network, or a transform, that turns windows of sound into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import RequestError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EmbedderInfo:
    """What an embedder expects and returns.

    `hash` is the SHA-256 of its weights and its preprocessing constants: vectors are comparable only where it is equal.
    """

    name: str
    rate: int  # Hz
    window: int  # samples that it hears at once
    dimensions: int  # of a vector
    hash: str
    license: str = ""
    channels: int = 1  # 1: mono, 2: stereo
    padding: Literal["repeat", "silence"] = "silence"  # how a shorter clip fills a window, as the network was trained
    batch: int = 8  # windows that are embedded at once
    labels: tuple[str, ...] = field(default=())  # classes of a classifier, in the order of its logits


class Embedder(Protocol):
    """An embedder of sounds."""

    @property
    def info(self) -> EmbedderInfo: ...

    def embed(self, windows: Floats) -> Floats:
        """Embed windows (b, samples), or (b, 2, samples) if `info.channels` is 2, in ±1, to vectors (b, dimensions).

        A window is embedded alone or in a batch with the same result, up to float32 rounding.
        """
        ...


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder that also places texts in the space of sounds; all vectors have length 1."""

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """Embed texts to vectors (b, dimensions)."""
        ...


@runtime_checkable
class Classifier(Embedder, Protocol):
    """An embedder whose network also names classes of sound."""

    def classify(self, windows: Floats) -> Floats:
        """Return logits (b, classes) in the order of `info.labels`."""
        ...


def check_windows(info: EmbedderInfo, windows: Floats) -> Floats:
    """Return windows as float32. Raises RequestError unless an embedder takes their shape and all are finite."""
    samples = (info.window,) if info.channels == 1 else (info.channels, info.window)
    if windows.ndim != 1 + len(samples) or windows.shape[1:] != samples:
        raise RequestError(
            f"{info.name} embeds windows of shape (b, {', '.join(map(str, samples))}), found {windows.shape}"
        )
    if not np.isfinite(windows).all():
        raise RequestError(f"{info.name} cannot embed windows with values that are not finite")
    return np.asarray(windows, np.float32)
