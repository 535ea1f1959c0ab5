"""The lengths of the clips that a generator was trained on, noted for its export when that is done."""

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
from soundloom.training.recipe import RunDirectory
from soundloom.training.stages.context import StableAudioContext

log = logging.getLogger(__name__)


def clip_lengths(config: ModelConfig, seconds: NDArray[np.float32]) -> list[float]:
    """The shortest and the longest of clips, in whole hundredths of a second, as far as the model holds them."""
    return [int(100 * min(length, config.max_seconds)) / 100 for length in (seconds.min(), seconds.max())]


def note_lengths(run_dir: RunDirectory, lengths: list[float]) -> None:
    """Keep the shortest and the longest length in the folder of the stage `dit`."""
    write_json(_note(run_dir), {CLIP_SECONDS: lengths})


def with_clip_seconds(context: StableAudioContext) -> ModelConfig:
    """The model's configuration with the lengths that it was trained on; a base knows others besides.

    Work without the note has its latents read. Where they are gone the lengths are left out, with a warning.
    """
    if context.pretrained or CLIP_SECONDS in context.model.training:
        return context.model
    lengths = _noted(context)
    if lengths is None:
        try:
            lengths = clip_lengths(context.model, context.seconds())
        except SoundloomError as error:
            log.warning("the model will not say how long its clips were: %s", error.args[0])
            return context.model
    return replace(context.model, training={**context.model.training, CLIP_SECONDS: lengths})


def _noted(context: StableAudioContext) -> list[float] | None:
    """What was noted, None where nothing was. Raises TrainingError where the note is damaged."""
    path = _note(context.run_dir)
    known = read_json_object(path)
    if known is None:
        return None
    try:
        clip_seconds(known, 0, context.model.max_seconds)
        return list(known[CLIP_SECONDS])
    except (ConfigError, KeyError) as error:
        raise TrainingError(
            f"{printable(path)} does not hold two lengths", "remove it to have them read from the latents"
        ) from error


def _note(run_dir: RunDirectory) -> Path:
    return run_dir.stage_folder("dit") / "lengths.json"
