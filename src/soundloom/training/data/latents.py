"""Encoded clips in one file: what the transformer is trained on, so that the autoencoder runs once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundloom.atomic import atomic_file
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import TrainingError, printable
from soundloom.training.data.sounds import Sounds
from soundloom.training.loop.checkpoint import named_damage
from soundloom.training.stages.autoencoder import encoded

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


def read_latents(path: Path, channels: int | None = None) -> Latents:
    """Undo `write_latents`. Raises TrainingError where the file is damaged, or has latents of other channels."""
    with named_damage(path, "it is damaged; soundloom train encode --restart makes it anew"):
        stored = read_npz(path)
        frames, starts, seconds, silence = (
            np.array(stored[name].numpy()) for name in ("frames", "starts", "seconds", "silence")
        )
        latents = Latents(frames.astype(np.float32), starts.astype(np.int64), seconds.astype(np.float32), silence)
        _require_consistent(latents)
    if channels not in (None, frames.shape[1]):
        found = f"{printable(path)} holds latents of {frames.shape[1]} channels, and the model's have {channels}"
        raise TrainingError(found, "run soundloom train encode again")
    return latents


def read_seconds(path: Path) -> Frames:
    """The exact seconds of each clip (clips,), without its latents. Raises TrainingError as `read_latents` does."""
    with named_damage(path, "it is damaged; soundloom train encode --restart makes it anew"):
        seconds = read_npz(path)["seconds"].numpy().astype(np.float32)
        if seconds.ndim != 1 or not seconds.size or not np.isfinite(seconds).all() or (seconds <= 0).any():
            raise ValueError("its clips have no lengths")
    return seconds


def _require_consistent(latents: Latents) -> None:
    """Raise ValueError where the arrays do not belong together."""
    frames, starts, seconds, silence = latents.frames, latents.starts, latents.seconds, latents.silence
    if frames.ndim != 2 or silence.ndim != 2 or silence.shape[1] != frames.shape[1] or not silence.size:
        raise ValueError("its latents have no channels in common")
    if starts.ndim != 1 or len(starts) < 2 or seconds.shape != (len(starts) - 1,):
        raise ValueError("its clips have no lengths")
    if starts[0] != 0 or starts[-1] != len(frames) or (np.diff(starts) < 1).any():
        raise ValueError("its clips do not follow each other")
    if not all(np.isfinite(array).all() for array in (frames, seconds, silence)) or (seconds <= 0).any():
        raise ValueError("some of its numbers are none")
