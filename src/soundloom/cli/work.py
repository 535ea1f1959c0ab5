"""What all commands that make sound have in common: check, open the model, run, save, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundloom.cli.delivery import Delivery
from soundloom.cli.opening import open_model
from soundloom.cli.options.groups import (
    AutoencoderOptions,
    ModelOptions,
    OutputOptions,
    PrecisionOptions,
    SamplingOptions,
)
from soundloom.cli.options.unused_flags import warn_of_unused_flags
from soundloom.cli.outputs import output_paths, warn_of_changes
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.pipeline.groups import group_requests
from soundloom.pipeline.stable_audio.model import DEFAULT_SECONDS
from soundloom.pipeline.stable_audio.run import MAX_BATCH

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MakingOptions(SamplingOptions, ModelOptions, PrecisionOptions, AutoencoderOptions, OutputOptions):
    """All flags of a command that makes sound, but its own."""


def carry_out(
    requests: Sequence[GenerationRequest],
    options: MakingOptions,
    config: ModelConfig,
    source: Path | None = None,
    expected_hash: str | None = None,
) -> None:
    """Make clips, save them, print their paths. `source` is the edited file, `expected_hash` that of the weights."""
    group_requests(requests, config, DEFAULT_SECONDS, MAX_BATCH)  # raises for what this model cannot do
    options.check_decoder(options.model_name, config)
    paths = output_paths(requests, options, config.sample_rate, options.model_name, source)
    warn_of_changes(requests[0], paths[0], options)
    warn_of_unused_flags(options, requests[0], paths[0])

    with Delivery(options, len(requests)) as delivery:
        keep_loaded = not options.free_models
        model = open_model(options, options.transformer_precision, keep_loaded, options.keep_bad)
        if expected_hash not in (None, model.checkpoint.fingerprint):
            log.warning("the weights of %s are not those that made the file; the sound will differ", model.name)
        delivery.save(model.iter(requests, progress=delivery.watch), paths)
