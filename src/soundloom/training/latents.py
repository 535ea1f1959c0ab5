"""Encoded clips in one file: what the transformer is trained on, so that the autoencoder runs once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundloom.atomic import atomic_file
from soundloom.engines.torch.same import SAME
from soundloom.training.autoencoder import encoded
from soundloom.training.sounds import Sounds

SILENT_CHUNKS = 8  # enough that the middle of encoded silence does not feel its ends
Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Latents:
    """Frames of all clips one after the other (frames, c), where each clip starts, and how silence is encoded.

    `starts` has one entry more than there are clips; `seconds` (clips,) are exact; `silence` (chunk, c) repeats
    behind a clip.
    """

    frames: Frames
    starts: NDArray[np.int64]
    seconds: Frames
    silence: Frames

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each clip."""
        return np.diff(self.starts)

    def padded(self, position: int, length: int) -> Frames:
        """A clip's latents (c, length), followed by silence."""
        clip = self.frames[self.starts[position] : self.starts[position + 1]][:length]
        rest = np.arange(len(clip), length) % len(self.silence)
        return np.concatenate([clip, self.silence[rest]]).T


def encode_sounds(same: SAME, sounds: Sounds) -> Latents:
    """Encode every clip."""
    clips, seconds = zip(*((latent.numpy(), length) for latent, length in encoded(same, sounds)), strict=True)
    starts = np.cumsum([0, *map(len, clips)])
    return Latents(np.concatenate(clips), starts.astype(np.int64), np.array(seconds, np.float32), _encode_silence(same))


@torch.no_grad()
def _encode_silence(same: SAME) -> Frames:
    """One chunk (chunk, c) from the middle of encoded silence."""
    chunk = same.config.encoder.config.latents_per_chunk
    silence = torch.zeros(1, 2, SILENT_CHUNKS * chunk * same.config.downsampling_ratio)
    start = SILENT_CHUNKS // 2 * chunk
    return same.encode(silence)[0, :, start : start + chunk].T.numpy()


def write_latents(path: Path, latents: Latents) -> None:
    """Store in half precision."""
    with atomic_file(path) as file:
        half = latents.frames.astype(np.float16)
        np.savez(file, frames=half, starts=latents.starts, seconds=latents.seconds, silence=latents.silence)


def read_latents(path: Path) -> Latents:
    """Undo `write_latents`."""
    with np.load(path) as data:
        return Latents(data["frames"].astype(np.float32), data["starts"], data["seconds"], data["silence"])
