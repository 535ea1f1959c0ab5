"""Log metrics, audio clips and spectrograms to TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.audio.mel import log_mel
from soundloom.training.loop.logging import Callback, Preview, StepMetrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

BLACK_DB, WHITE_DB = -80.0, 0.0
ZOOM = 4  # pixels of a band


class TensorBoard(Callback):
    """Write `events…` files into a folder; without the package tensorboard, log that once and do nothing."""

    def __init__(self, folder: Path, sample_rate: int, preview: Preview | None, every: int) -> None:
        self.folder, self.sample_rate, self.preview, self.every = folder, sample_rate, preview, every
        self._writer: SummaryWriter | None = None
        self._last_preview = 0

    def on_train_begin(self, step: int, steps: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("no logs for TensorBoard: pip install 'soundloom[train]'")
            return
        self._last_preview = step
        self._writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def on_log(self, metrics: StepMetrics) -> None:
        if self._writer is None:
            return
        rates = {"learning rate": metrics.learning_rate, "seconds per step": metrics.seconds_per_step}
        for name, value in {**metrics.values, **rates}.items():
            self._writer.add_scalar(name, value, metrics.step)
        if self.preview and (metrics.step - self._last_preview >= self.every or metrics.step == metrics.steps):
            self._last_preview = metrics.step
            self._write_preview(self._writer, self.preview, metrics.step)

    def _write_preview(self, writer: SummaryWriter, preview: Preview, step: int) -> None:
        for name, audio in preview().items():
            mono = torch.from_numpy(audio.mean(axis=0)).clamp(-1, 1)  # TensorBoard's audio has one channel
            writer.add_audio(name, mono[None], step, self.sample_rate)
            writer.add_image(name, spectrogram_image(audio, self.sample_rate), step, dataformats="HW")
        writer.flush()

    def on_train_end(self) -> None:
        if self._writer is not None:
            self._writer.close()


def write_clips(folder: Path, name: str, clips: Sequence[Clip], step: int) -> None:
    """Write clips and their spectrograms as `events…` files into a folder; without tensorboard, do nothing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return
    writer = SummaryWriter(str(folder))
    for number, clip in enumerate(clips):
        mono = torch.from_numpy(np.ascontiguousarray(clip.audio.mean(axis=0))).clamp(-1, 1)
        writer.add_audio(f"{name}/{number}", mono[None], step, clip.sample_rate)
        image = spectrogram_image(clip.audio, clip.sample_rate)
        writer.add_image(f"{name}/{number}", image, step, dataformats="HW")
    writer.close()


def spectrogram_image(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.uint8]:
    """Return a log-mel spectrogram as gray pixels (height, width), low frequencies at the bottom."""
    gray = (log_mel(audio, sample_rate)[::-1] - BLACK_DB) / (WHITE_DB - BLACK_DB)
    pixels = (np.clip(gray, 0, 1) * 255).astype(np.uint8)
    return pixels.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
