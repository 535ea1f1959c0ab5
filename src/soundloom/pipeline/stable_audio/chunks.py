"""Encode and decode audio in chunks, so that memory stays flat as clips grow.

"exact" chunks overlap by the receptive field of a latent and start on the autoencoder's grid, so the result equals
that of a single pass at every length. "published" and "mlx" are the algorithms of the published systems.
Source: stable-audio-3, models/autoencoders.py (published) and its MLX runtime's decoders (mlx).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np

from soundloom.audio.blocks import SlidingReader, Stream
from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig
from soundloom.engines.stable_audio import Engine, NoiseFn

Algorithm = Literal["exact", "published", "mlx"]
CHUNK = 128  # latents, 11.9 s at the published rate
PUBLISHED_OVERLAP = 32
MLX_SIZES = {True: (128, 8), False: (8, 2)}  # chunk and overlap, by whether attention slides


@dataclass(frozen=True)
class Chunk:
    """A slice [start, stop) of the input; latents [left, right) of its result go to latent `out` + left.

    A right of None takes the complete result of a single pass, which may be longer than requested.
    """

    start: int
    stop: int
    out: int
    left: int
    right: int | None


@dataclass(frozen=True)
class ChunkPlan:
    """Chunks in order, which cover each latent of the result once; a latent has `scale` positions in the output."""

    chunks: tuple[Chunk, ...]
    scale: int

    def __post_init__(self) -> None:
        # A later chunk overwrites an earlier one, so the earlier one need not write there at all.
        clipped = [replace(a, right=min(a.right or 0, b.out + b.left - a.out)) for a, b in pairwise(self.chunks)]
        object.__setattr__(self, "chunks", (*clipped, self.chunks[-1]))

    def stream(self, x: Any, run: Callable[[Any], np.ndarray]) -> Iterator[np.ndarray]:
        """Yield consecutive pieces of the result (b, c, _) of coding x (b, c, n)."""
        for chunk in self.chunks:
            piece = run(x[..., chunk.start : chunk.stop])
            yield piece[..., chunk.left * self.scale : chunk.right and chunk.right * self.scale]

    def run(self, x: Any, run: Callable[[Any], np.ndarray]) -> np.ndarray:
        """Return the complete result, written piece by piece into one array."""
        pieces = self.stream(x, run)
        first = next(pieces)
        if len(self.chunks) == 1:
            return first
        last = self.chunks[-1]
        result = np.empty((*first.shape[:-1], (last.out + (last.right or 0)) * self.scale), first.dtype)
        filled = 0
        for piece in chain([first], pieces):
            result[..., filled : filled + piece.shape[-1]] = piece
            filled += piece.shape[-1]
        return result[..., :filled]


def decode_chunks(
    latents: int, config: SAMEConfig, algorithm: Algorithm, chunk: int | None = None, overlap: int | None = None
) -> ChunkPlan:
    """Plan the decoding of that many latents; sizes are in latents, None takes the algorithm's own."""
    half, ratio = config.decoder.config, config.downsampling_ratio
    if algorithm == "published":
        size, shared = chunk or CHUNK, PUBLISHED_OVERLAP if overlap is None else overlap
        return ChunkPlan(_published(latents, size, shared, latents, 1), ratio)
    if algorithm == "mlx":
        default_chunk, default_overlap = MLX_SIZES[half.sliding_window is not None]
        size, shared = chunk or default_chunk, default_overlap if overlap is None else overlap
        return ChunkPlan(_mlx(latents, size, shared, half), ratio)
    return ChunkPlan(_exact(latents, chunk or CHUNK, half, 1), ratio)


def encode_chunks(
    samples: int, config: SAMEConfig, algorithm: Algorithm, chunk: int | None = None, overlap: int | None = None
) -> ChunkPlan:
    """Plan the encoding of that many samples. The MLX runtime never splits here."""
    half, ratio = config.encoder.config, config.downsampling_ratio
    if algorithm == "mlx":
        return ChunkPlan((Chunk(0, samples, 0, 0, None),), 1)
    if algorithm == "published":
        size, shared = chunk or CHUNK, PUBLISHED_OVERLAP if overlap is None else overlap
        return ChunkPlan(_published(samples // ratio, size, shared, samples, ratio), 1)
    latents = -(-samples // (ratio * half.latents_per_chunk)) * half.latents_per_chunk
    return ChunkPlan(_exact(latents, chunk or CHUNK, half, ratio), 1)


def _exact(latents: int, size: int, half: ResamplerConfig, unit: int) -> tuple[Chunk, ...]:
    """Split on the attention's grid, with the receptive field as context on both sides."""
    grid = half.latents_per_chunk
    size, margin = max(size // grid, 1) * grid, -(-half.reach // grid) * grid
    if latents <= size + margin:
        return (Chunk(0, latents * unit, 0, 0, latents),)
    chunks = []
    for first in range(0, latents, size):
        start, stop = max(0, first - margin), min(latents, first + size + margin)
        last = min(latents, first + size)
        chunks.append(Chunk(start * unit, stop * unit, start, first - start, last - start))
    return tuple(chunks)


def _published(latents: int, size: int, overlap: int, positions: int, unit: int) -> tuple[Chunk, ...]:
    """Split at a fixed hop; the last chunk ends where the signal ends, on the latent grid or not."""
    if positions < size * unit:
        return (Chunk(0, positions, 0, 0, None),)
    starts = list(range(0, positions - size * unit + 1, (size - overlap) * unit))
    if starts[-1] != positions - size * unit:
        starts.append(positions - size * unit)
    chunks = []
    for i, start in enumerate(starts):
        last = i == len(starts) - 1
        out = latents - size if last else start // unit
        left, right = (0 if i == 0 else overlap // 2), (size if last else size - overlap // 2)
        chunks.append(Chunk(start, start + size * unit, out, left, right))
    return tuple(chunks)


def _mlx(latents: int, size: int, overlap: int, half: ResamplerConfig) -> tuple[Chunk, ...]:
    """Split into windows of chunk + 2 overlap; the last one ends where the signal ends and yields the rest."""
    window = size + 2 * overlap
    if latents <= window:
        return (Chunk(0, latents, 0, 0, latents),)
    chunks = [Chunk(0, window, 0, 0, size + overlap)]
    first = size + overlap
    while first + size + overlap <= latents:
        chunks.append(Chunk(first - overlap, first + size + overlap, first - overlap, overlap, overlap + size))
        first += size
    if first < latents:
        start = latents - window
        chunks.append(Chunk(start, latents, start, first - start, window))
    return tuple(chunks)


def encode_audio(
    engine: Engine, config: Any, audio: np.ndarray, algorithm: Algorithm = "exact", noise: NoiseFn | None = None
) -> np.ndarray:
    """Return latents (b, c, t) of audio (b, channels, samples)."""
    plan = encode_chunks(audio.shape[-1], config.same, algorithm)
    return plan.run(audio, lambda piece: engine.encode(piece, noise))


def encode_stream(engine: Engine, config: Any, audio: Stream) -> np.ndarray:
    """Return latents (c, t) of stereo audio that is read once, chunk by chunk."""
    plan = encode_chunks(audio.samples, config.same, "exact")
    latents: np.ndarray = plan.run(SlidingReader(audio), lambda piece: engine.encode(piece[None], None))[0]
    return latents


def decode_latents(
    engine: Engine, config: Any, latents: np.ndarray, algorithm: Algorithm = "exact", noise: NoiseFn | None = None
) -> np.ndarray:
    """Return audio (b, channels, samples) of latents (b, c, t)."""
    plan = decode_chunks(latents.shape[-1], config.same, algorithm)
    return plan.run(latents, lambda piece: engine.decode(piece, noise))


def pad_or_trim(audio: np.ndarray, samples: int) -> np.ndarray:
    """Pad audio (channels, n) with silence at the end, or trim it, to a length."""
    return np.pad(audio[:, :samples], ((0, 0), (0, max(0, samples - audio.shape[1]))))
