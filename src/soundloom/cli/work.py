"""Execute the plan of a command that generates clips: check the output, load the model, save each clip, report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.cli.delivery import Delivery
from soundloom.cli.opening import known_model, open_with
from soundloom.cli.options.model import AutoencoderOptions, ModelOptions, PrecisionOptions
from soundloom.cli.options.output import OutputOptions
from soundloom.cli.options.sampling import SamplingOptions, SeedOptions, TokenSamplingOptions
from soundloom.cli.options.unused_flags import warn_of_unused_flags
from soundloom.cli.outputs import output_paths, warn_of_changes
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError
from soundloom.pipeline.musicgen.plan import PlannedMusic
from soundloom.pipeline.plan import Plan
from soundloom.pipeline.stable_audio.plan import PlannedClip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GenerationOptions(SamplingOptions, ModelOptions, PrecisionOptions, AutoencoderOptions, OutputOptions):
    """The shared flags of commands that run Stable Audio."""


@dataclass(frozen=True)
class MusicOptions(SeedOptions, TokenSamplingOptions, ModelOptions, PrecisionOptions, OutputOptions):
    """The shared flags of commands that run MusicGen."""


def known_generator(options: GenerationOptions) -> tuple[str, ModelConfig]:
    """Return the name and configuration of a Stable Audio model that generates; raises RequestError for others."""
    name, config = known_model(options.model_name)
    if isinstance(config, MusicGenConfig):
        raise RequestError(f"{options.model_name} is not a Stable Audio model", "use mini or small-music")
    if not isinstance(config, ModelConfig):
        raise RequestError(
            f"{options.model_name} is an autoencoder alone and cannot generate",
            "it can encode and decode; `soundloom models` lists the models that generate",
        )
    options.check_decoder(options.model_name, config)
    return name, config


def execute(
    plan: Plan[PlannedClip] | Plan[PlannedMusic],
    options: GenerationOptions | MusicOptions,
    files: Mapping[Clip, Path],
    expected_hash: str | None = None,
) -> None:
    """Generate the clips of a plan, save them and print their paths.

    `files` are the paths of edited clips, `expected_hash` is the hash of the weights that generated a clip to repeat.
    """
    paths = output_paths(plan.clips, options, options.model_name, files)
    first = plan.clips[0]
    warn_of_changes(first, paths[0], options)
    warn_of_unused_flags(options, first.request, paths[0])

    with Delivery(options, len(paths)) as delivery:
        for notice in plan.notices:
            delivery.watch.print(notice)
        from soundloom.pipeline.load import load_music, load_stable_audio

        load: Callable[..., Any] = load_music if isinstance(first, PlannedMusic) else load_stable_audio
        model = open_with(load, options, options.transformer_precision, not options.free_models, options.keep_bad)
        if expected_hash not in (None, model.checkpoint.fingerprint):
            log.warning("the weights of %s are not those that made the file; the sound will differ", model.name)
        delivery.save(model.execute(plan, progress=delivery.watch), paths)
