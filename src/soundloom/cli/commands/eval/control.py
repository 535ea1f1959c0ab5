"""`soundloom eval control`: how often a model does what prompts and options ask for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.cli.loading import known_model, open_model
from soundloom.cli.measuring import CLIPS, finish_report
from soundloom.cli.options.evaluation import ReportOptions
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.model import ModelOptions
from soundloom.cli.options.shared import precision_flag, prompts_flag, seconds_flag, seeds_flag, steps_flag
from soundloom.cli.terminal.counting import counter
from soundloom.cli.terminal.logs import at_level
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip
    from soundloom.evaluation.controls.benchmark import ControlCase
    from soundloom.evaluation.embedders.base import Classifier

ClipKey = tuple[str, int | None]


@dataclass(frozen=True)
class Options(ModelOptions, ReportOptions):
    """Count how often a Stable Audio model keeps to a tempo, key, pitch, duration, loudness, side and loop.

    The prompts are a fixed list, so that figures compare. Clips of which an estimator is unsure are no hits; they are
    counted apart. The ceiling is the share of hits in rendered sounds that are exactly what the prompts ask for.
    """

    controls: str | None = flag("--controls", metavar="NAMES", help="comma-separated, such as tempo,key (default: all)")
    prompts: int | None = prompts_flag(help="at most N prompts of each control (default: all)")
    seeds: int = seeds_flag()
    seconds: float = seconds_flag(default=10.0, help="length of clips, up to the model's longest (default: 10)")
    steps: int | None = steps_flag(help="sampling steps (default: the model's)")
    precision: str = precision_flag(default="auto", help="precision of the transformer (default: auto)")
    all_prompts: bool = switch(
        "--all-prompts", help="also count prompts with words that the model does not know, as failures"
    )
    classifier: str | None = flag(
        "--classifier", metavar="NAME", help="a classifier, such as musicnn, for instruments and voices"
    )


def run(options: Options) -> int:
    from soundloom.evaluation.controls.benchmark import ControlConfig, evaluate_controls
    from soundloom.evaluation.controls.prompts import CONTROLS
    from soundloom.evaluation.controls.rows import control_table

    names = tuple(name.strip() for name in options.controls.split(",")) if options.controls else CONTROLS
    config = ControlConfig(
        names, options.prompts, options.seeds, options.seconds, options.steps, all_prompts=options.all_prompts
    )
    folder = options.folder
    source, architecture = known_model(options.model_name)
    if not isinstance(architecture, ModelConfig):
        raise RequestError(f"{source} is not a Stable Audio model that generates", "name one that does, such as mini")
    classifier = _classifier(options.classifier) if options.classifier else None
    model = open_model(options, options.precision, keep_loaded=True, keep_bad=True)
    clips: dict[ClipKey, Path] = {}

    def keep(case: ControlCase, clip: Clip) -> None:
        if folder:
            clips[case.prompt.id, case.seed] = clip.save(_path(folder / CLIPS, len(clips)))

    with at_level(logging.ERROR):  # warnings about single clips are part of the report
        found = evaluate_controls(model, config, classifier, counter("scored", options.quiet), keep)
    return finish_report(found.report, options, clips, control_table(found.rows))


def _path(folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{number:05d}.flac"


def _classifier(name: str) -> Classifier:
    from soundloom.evaluation.embedders.base import Classifier
    from soundloom.evaluation.embedders.load import load_embedder

    found = load_embedder(name)
    if not isinstance(found, Classifier):
        raise RequestError(f"the embedder {name} names no classes of sound", "use musicnn")
    return found
