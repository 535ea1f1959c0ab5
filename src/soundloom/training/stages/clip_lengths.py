"""The range of clip lengths that a generator was trained on, stored for its export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import write_json
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.training_section import CLIP_SECONDS, clip_seconds
from soundloom.training.loop.checkpoint import named_damage, read_json_object
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.context import StableAudioContext


def save_clip_lengths(context: StableAudioContext, seconds: NDArray[np.float32]) -> None:
    """Store the minimum and maximum of seconds, limited by the model and truncated to hundredths."""
    limit = context.model.max_seconds
    lengths = [int(100 * min(length, limit)) / 100 for length in (seconds.min(), seconds.max())]
    write_json(_path(context.run_dir), {CLIP_SECONDS: lengths})


def with_clip_lengths(context: StableAudioContext) -> ModelConfig:
    """Return the model's configuration with the stored lengths, unless it has lengths or is fine-tuned.

    Raises TrainingError where the file is missing or damaged.
    """
    if context.pretrained or CLIP_SECONDS in context.model.training:
        return context.model
    path = context.run_dir.require(_path(context.run_dir), "dit")
    stored = read_json_object(path) or {}
    with named_damage(path, "it is damaged; restore it, or run soundloom train dit --restart"):
        clip_seconds(stored, 0, context.model.max_seconds)
        training = {**context.model.training, CLIP_SECONDS: list(stored[CLIP_SECONDS])}
    return replace(context.model, training=training)


def _path(run_dir: RunDirectory) -> Path:
    return run_dir.stage_folder("dit") / "lengths.json"
