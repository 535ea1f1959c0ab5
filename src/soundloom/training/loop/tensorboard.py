"""Logs for TensorBoard: the curves of a run, and now and then what it sounds and looks like."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from soundloom.audio.mel import log_mel
from soundloom.training.loop.logging import Callback, StepMetrics
from soundloom.training.stages.previews import Preview

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

QUIETEST, LOUDEST = -80.0, 0.0  # dB, black and white
ZOOM = 4  # pixels of a band


class TensorBoard(Callback):
    """Writes `events…` files into a folder; without the package tensorboard it says so once and does nothing."""

    def __init__(self, folder: Path, rate: int, preview: Preview | None, every: int) -> None:
        self.folder, self.rate, self.preview, self.every = folder, rate, preview, every
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
        values = {**metrics.values, "learning rate": metrics.rate, "seconds per step": metrics.pace}
        for name, value in values.items():
            self._writer.add_scalar(name, value, metrics.step)
        if self.preview and (metrics.step - self._last_preview >= self.every or metrics.step == metrics.steps):
            self._last_preview = metrics.step
            self._show(self._writer, self.preview, metrics.step)

    def _show(self, writer: SummaryWriter, preview: Preview, step: int) -> None:
        for name, audio in preview().items():
            mono = torch.from_numpy(audio.mean(axis=0)).clamp(-1, 1)  # the format has one channel
            writer.add_audio(name, mono[None], step, self.rate)
            writer.add_image(name, picture(audio, self.rate), step, dataformats="HW")
        writer.flush()

    def on_train_end(self) -> None:
        if self._writer is not None:
            self._writer.close()


def picture(audio: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """A log-mel spectrogram as gray pixels (height, width), low frequencies at the bottom."""
    gray = (log_mel(audio, rate)[::-1] - QUIETEST) / (LOUDEST - QUIETEST)
    pixels = (np.clip(gray, 0, 1) * 255).astype(np.uint8)
    return pixels.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
