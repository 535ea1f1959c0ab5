"""`soundloom eval codec`: what the autoencoder or token codec of a model makes of sounds."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.checkpoints.musicgen.fetch import is_music
from soundloom.cli.loading import open_with
from soundloom.cli.measuring import finish_report
from soundloom.cli.options.evaluation import RecipeOptions, ReportOptions
from soundloom.cli.options.model import ModelOptions
from soundloom.cli.options.shared import limit_flag, seconds_flag, sounds_flag
from soundloom.cli.terminal.counting import counter
from soundloom.cli.terminal.logs import at_level
from soundloom.errors import RequestError
from soundloom.evaluation.recipes import find_recipe

if TYPE_CHECKING:
    from soundloom.pipeline.musicgen.model import MusicModel
    from soundloom.pipeline.stable_audio.model import Model

DEFAULT_EMBEDDER = "log-mel"  # needs no weights


@dataclass(frozen=True)
class Options(ModelOptions, RecipeOptions, ReportOptions):
    """Encode and decode sounds, and compare the results with the originals: the ceiling of what a model can reach.

    Works for the autoencoder of Stable Audio models, alone or within one, and for the codec of MusicGen. FAD and KAD
    against the originals are the floor that no model with this codec can be below.
    """

    sounds: str | None = sounds_flag(help="a folder, a CSV or JSONL table, or a set.json")
    limit: int | None = limit_flag(help="use the first N sounds only")
    seconds: float = seconds_flag(default=30.0, help="use at most the first S seconds of each (default: 30)")


def run(options: Options) -> int:
    if not options.sounds:
        raise RequestError("eval codec needs --sounds", "name a folder of sounds, a table, or a set.json")
    from soundloom.evaluation.codec.report import CodecConfig, decoded_files, evaluate_codec
    from soundloom.evaluation.sets.manifest import read_set
    from soundloom.evaluation.sets.report import Measuring
    from soundloom.pipeline.load import load_music, load_stable_audio

    config, folder = CodecConfig(options.seconds, options.limit), options.folder
    recipe = find_recipe(options.recipe, options.embedder or DEFAULT_EMBEDDER)
    sounds = read_set(options.sounds)
    measuring = Measuring(options.open_embedder(recipe, options.device), recipe, options.open_cache())
    with tempfile.TemporaryDirectory(prefix="soundloom-eval-") as temporary, at_level(logging.ERROR):
        model: Model | MusicModel
        if is_music(options.model_name):
            model = open_with(load_music, options, "auto", keep_loaded=True, keep_bad=True)
        else:
            model = open_with(load_stable_audio, options, "auto", keep_loaded=True, keep_bad=True)
        files = Path(temporary)
        report = evaluate_codec(model, sounds, files, config, measuring, counter("decoded", options.quiet))
        return finish_report(report, options, decoded_files(report, files) if folder else {})
