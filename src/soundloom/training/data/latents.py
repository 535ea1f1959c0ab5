"""Latents of all training clips in memory, and the file that caches them, so that the autoencoder runs once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundloom.atomic import atomic_file
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.datasets.examples import Dataset, Example, Selection, Skipped, read_examples
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import TrainingError, printable
from soundloom.training.data.captions import CaptionList
from soundloom.training.data.protocols import SoundSource
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.loop.checkpoint import named_damage

log = logging.getLogger(__name__)

SILENT_CHUNKS = 8  # enough that the middle of encoded silence is independent of its ends
DAMAGED = "it is damaged; run soundloom train encode --restart"
Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Latents:
    """The concatenated frames (frames, c) of all clips, with the start of each clip.

    `starts` has one element more than there are clips; `seconds` (clips,) are exact; `silence` (chunk, c) is encoded
    silence that pads clips by repetition.
    """

    frames: Frames
    starts: NDArray[np.int64]
    seconds: Frames
    silence: Frames

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of frames of each clip."""
        return np.diff(self.starts)

    def padded(self, position: int, length: int) -> Frames:
        """Return a clip's latents (c, length), truncated or padded with silence."""
        clip = self.frames[self.starts[position] : self.starts[position + 1]][:length]
        padding = self.silence[np.arange(len(clip), length) % len(self.silence)]
        return np.concatenate([clip, padding]).T


@torch.no_grad()
def encode_clips(same: SAME, sounds: SoundSource) -> Iterator[tuple[Tensor, float]]:
    """Yield the latents (frames, c) and seconds of every clip in order, without frames of padding alone."""
    same.eval()
    for position in range(len(sounds)):
        clip = sounds.clip(position)
        samples = clip.audio.shape[1]
        frames = -(-samples // same.config.downsampling_ratio)
        yield same.encode(torch.from_numpy(clip.audio)[None])[0, :, :frames].T, samples / clip.sample_rate


def encode_sounds(same: SAME, sounds: SyntheticSounds) -> Latents:
    """Encode every clip."""
    clips, seconds = zip(*((latent.numpy(), length) for latent, length in encode_clips(same, sounds)), strict=True)
    starts = np.cumsum([0, *map(len, clips)])
    return Latents(np.concatenate(clips), starts.astype(np.int64), np.array(seconds, np.float32), _encode_silence(same))


@torch.no_grad()
def _encode_silence(same: SAME) -> Frames:
    """Return one chunk (chunk, c) from the middle of encoded silence."""
    chunk = same.config.encoder.config.latents_per_chunk
    silence = torch.zeros(1, 2, SILENT_CHUNKS * chunk * same.config.downsampling_ratio)
    start = SILENT_CHUNKS // 2 * chunk
    return same.encode(silence)[0, :, start : start + chunk].T.numpy()


def write_latents(path: Path, latents: Latents) -> None:
    """Write latents in half precision."""
    with atomic_file(path) as file:
        half = latents.frames.astype(np.float16)
        np.savez(file, frames=half, starts=latents.starts, seconds=latents.seconds, silence=latents.silence)


def read_latents(path: Path, channels: int | None = None) -> Latents:
    """Read the file of `write_latents`. Raises TrainingError when it is damaged or has another number of channels."""
    with named_damage(path, DAMAGED):
        stored = read_npz(path)
        frames, starts, seconds, silence = (
            np.array(stored[name].numpy()) for name in ("frames", "starts", "seconds", "silence")
        )
        latents = Latents(frames.astype(np.float32), starts.astype(np.int64), seconds.astype(np.float32), silence)
        _require_consistent(latents)
    if channels not in (None, frames.shape[1]):
        found = f"{printable(path)} holds latents of {frames.shape[1]} channels, and the model has {channels}"
        raise TrainingError(found, "run soundloom train encode again")
    return latents


def _require_consistent(latents: Latents) -> None:
    """Raise ValueError unless the arrays belong together."""
    frames, starts, seconds, silence = latents.frames, latents.starts, latents.seconds, latents.silence
    if frames.ndim != 2 or silence.ndim != 2 or silence.shape[1] != frames.shape[1] or not silence.size:
        raise ValueError("its arrays have different numbers of channels")
    if starts.ndim != 1 or len(starts) < 2 or seconds.shape != (len(starts) - 1,):
        raise ValueError("its clips have no lengths")
    if starts[0] != 0 or starts[-1] != len(frames) or (np.diff(starts) < 1).any():
        raise ValueError("its clips are not contiguous")
    if not all(np.isfinite(array).all() for array in (frames, seconds, silence)) or (seconds <= 0).any():
        raise ValueError("it holds values that are not finite")


def load_latents(
    dataset: Dataset, selection: Selection, channels: int, rate: float, max_frames: int, silence: Frames
) -> tuple[Latents, CaptionList]:
    """Load all latents of a dataset and their captions into memory.

    `rate` is in frames per second. Examples of more than `max_frames` are split. `silence` (c, t) pads short clips.
    Raises TrainingError when there are none, or when they have another number of channels.
    """
    clips: list[Frames] = []
    seconds: list[float] = []
    captions: list[tuple[str, ...]] = []
    for example in read_examples(dataset, selection, _warn):
        for clip, length in _split(example, rate, max_frames):
            if len(clip) != channels:
                raise TrainingError(f"{example.origin} has {len(clip)} channels, and the model's latents {channels}")
            clips.append(clip.T)
            seconds.append(length)
            captions.append(example.captions)
    if not clips:
        raise TrainingError("there are no latents to train on", "run soundloom train encode, or check data.toml")
    starts = np.cumsum([0, *map(len, clips)], dtype=np.int64)
    return Latents(np.concatenate(clips), starts, np.array(seconds, np.float32), silence.T), CaptionList(captions)


def _split(example: Example, rate: float, max_frames: int) -> Iterator[tuple[Frames, float]]:
    """Yield pieces (c, t) of at most `max_frames` frames, and the seconds of each."""
    if example.latents is None:
        raise TrainingError(f"{example.origin} holds sound, not latents", "run soundloom train encode first")
    for start in range(0, example.latents.shape[1], max_frames):
        piece = example.latents[:, start : start + max_frames]
        yield piece, min(piece.shape[1] / rate, example.seconds - start / rate)


def _warn(skipped: Skipped) -> None:
    log.warning("skipped: %s: %s", skipped.origin, skipped.reason)
