"""`soundloom lora check`: check a training set."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.loading import known_model
from soundloom.cli.lora_data import report_facts, report_lines
from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import model_flag
from soundloom.cli.terminal.results import print_results
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError
from soundloom.training.lora.setup import check


@dataclass(frozen=True)
class Options(JsonOptions):
    """Check a training set: captions, silent or damaged clips, copies, lengths, levels, and rates.

    Everything that is wrong is printed at once; the exit code is 1 if the set cannot be used as it is.
    """

    data: str = flag(metavar="DATA", help="a folder of sounds or latents, or .tar shards")
    model: str = model_flag(default="small-music-base", help="the model to train on: a name, folder, or file")


def run(options: Options) -> int:
    name, config = known_model(options.model)
    if not isinstance(config, ModelConfig):
        raise RequestError(f"{name} is not a Stable Audio model that generates", "name one that does")
    _, report = check(options.data, config, batch_size=1, skip_faulty=False)
    if options.json:
        print_results(report_facts(report))
    else:
        print_results([*report_lines(report), *(f"warning: {warning}" for warning in report.warnings)])
    return 1 if report.errors else 0
