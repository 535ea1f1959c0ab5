"""Encode and decode clips with the codec of a model of either family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio.chunks import CHUNK, decode_chunks
from soundloom.pipeline.stable_audio.model import Model

MAX_COMPARED = 3 * CHUNK  # latents that are decoded whole and in chunks


@dataclass(frozen=True)
class RoundTrip:
    """A clip as the codec hears it (its rate and channels), what was decoded, and the latents or tokens (c, frames)."""

    real: Clip
    decoded: Clip
    codes: np.ndarray


class RoundTripper(Protocol):
    """Encode and decode with one model."""

    rate: int
    latent_rate: float  # Hz

    def run(self, clip: Clip) -> RoundTrip: ...

    def chunked_difference(self, codes: np.ndarray) -> float:
        """Return the largest difference of decoding in chunks and in one piece; NaN if the codec has no chunks."""
        ...


class LatentCodec:
    """The autoencoder of a Stable Audio model, or one alone."""

    def __init__(self, model: Model) -> None:
        self.model, self.rate = model, model.sample_rate
        self.latent_rate = self.rate / model.checkpoint.config.same.downsampling_ratio

    def run(self, clip: Clip) -> RoundTrip:
        real = clip.mixed(2).to(rate=self.rate)
        latents = self.model.encode(real)
        return RoundTrip(real, self.model.decode(latents, samples=real.samples), latents)

    def chunked_difference(self, codes: np.ndarray) -> float:
        """Decode in three chunks or more, if the latents suffice, and compare with a single pass."""
        latents = np.ascontiguousarray(codes[None, :, :MAX_COMPARED])
        frames, config = latents.shape[-1], self.model.checkpoint.config.same
        plan = decode_chunks(frames, config, "exact", max(1, frames // 3))
        chunked = plan.run(latents, lambda piece: self.model.engine.decode(piece, None))
        whole = self.model.engine.decode(latents, None)
        length = min(chunked.shape[-1], whole.shape[-1])
        return float(np.abs(chunked[..., :length] - whole[..., :length]).max())


class TokenCodec:
    """EnCodec, the mono codec of MusicGen."""

    def __init__(self, model: MusicModel) -> None:
        self.model, self.rate = model, model.sample_rate
        self.latent_rate = float(model.config.encodec.frame_rate)

    def run(self, clip: Clip) -> RoundTrip:
        codes = self.model.encode(clip)
        decoded = self.model.decode(codes)
        real = clip.mixed(1).to(rate=self.rate).mixed(decoded.channels)
        return RoundTrip(real, decoded.cut(0, min(decoded.samples, real.samples)), codes)

    def chunked_difference(self, codes: np.ndarray) -> float:
        return float("nan")


def codec_of(model: Model | MusicModel) -> RoundTripper:
    """Return the codec of a model of either family."""
    return TokenCodec(model) if isinstance(model, MusicModel) else LatentCodec(model)
