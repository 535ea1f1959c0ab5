"""What all commands that make sound have in common: check, open the model, run, save, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundloom.audio.clip import Clip
from soundloom.audio.streaming import StreamedClip
from soundloom.cli.groups import AutoencoderOptions, ModelOptions, OutputOptions, PrecisionOptions, SamplingOptions
from soundloom.cli.opening import open_model
from soundloom.cli.outputs import output_paths, save, warn_of_changes
from soundloom.cli.results import print_results
from soundloom.cli.watch import Watch, report, summarise
from soundloom.config.models import ModelConfig
from soundloom.config.requests import GenerationRequest
from soundloom.pipeline.edits import begin
from soundloom.pipeline.model import DEFAULT_SECONDS

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
    for request in requests:
        begin(request, config, DEFAULT_SECONDS)  # raises for what this model cannot do
    options.check_decoder(options.model_name, config)
    paths = output_paths(requests, options, config.sample_rate, source)
    warn_of_changes(requests[0], paths[0], options)

    with Watch(quiet=options.quiet) as watch:
        model = open_model(options, options.transformer_precision, keep_loaded=not options.free_models)
        if expected_hash not in (None, model.checkpoint.fingerprint):
            log.warning("the weights of %s are not those that made the file; the sound will differ", model.name)
        clips = model.run(requests, progress=watch)
    deliver(clips, paths, options, watch)


def deliver(clips: Sequence[Clip], paths: Sequence[Path], options: OutputOptions, watch: Watch) -> None:
    """Save clips, say what they took, print their paths."""
    saved = [str(save(clip, path, options)) for clip, path in zip(clips, paths, strict=True)]

    summarise(watch, clips)
    print_results(report(watch, clips, saved) if options.json else saved)
    if options.play:
        from soundloom.audio.playback import play

        for path in saved:
            play(StreamedClip.open(path))  # as loud as the file is, which --lufs may have changed
