"""The range of clip lengths that a generator was trained on, stored for its export."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import write_json
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.training_section import CLIP_SECONDS, clip_seconds
from soundloom.errors import ConfigError, SoundloomError, TrainingError, printable
from soundloom.training.loop.checkpoint import read_json_object
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.context import StableAudioContext

log = logging.getLogger(__name__)


def clip_lengths(config: ModelConfig, seconds: NDArray[np.float32]) -> list[float]:
    """Return the minimum and maximum of seconds, limited by the model and truncated to hundredths."""
    return [int(100 * min(length, config.max_seconds)) / 100 for length in (seconds.min(), seconds.max())]


def save_clip_lengths(run_dir: RunDirectory, lengths: list[float]) -> None:
    """Store the minimum and maximum in the folder of the stage `dit`."""
    write_json(_path(run_dir), {CLIP_SECONDS: lengths})


def with_clip_seconds(context: StableAudioContext) -> ModelConfig:
    """Return the model's configuration with the clip lengths of its training, unless it is a fine-tuned model.

    Without stored lengths the latents are read; without latents the lengths are omitted, with a warning.
    """
    if context.pretrained or CLIP_SECONDS in context.model.training:
        return context.model
    lengths = _stored(context)
    if lengths is None:
        try:
            lengths = clip_lengths(context.model, context.seconds())
        except SoundloomError as error:
            log.warning("the model will not state the lengths of its training clips: %s", error.args[0])
            return context.model
    return replace(context.model, training={**context.model.training, CLIP_SECONDS: lengths})


def _stored(context: StableAudioContext) -> list[float] | None:
    """Read the stored lengths, if any. Raises TrainingError when the file is damaged."""
    path = _path(context.run_dir)
    known = read_json_object(path)
    if known is None:
        return None
    try:
        clip_seconds(known, 0, context.model.max_seconds)
        return list(known[CLIP_SECONDS])
    except (ConfigError, KeyError) as error:
        raise TrainingError(
            f"{printable(path)} does not hold two lengths", "delete it, and they are read from the latents"
        ) from error


def _path(run_dir: RunDirectory) -> Path:
    return run_dir.stage_folder("dit") / "lengths.json"
