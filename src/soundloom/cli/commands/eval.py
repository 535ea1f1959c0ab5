"""`soundloom eval`: how well a model does what it is asked, on prompts that training never saw."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.atomic import write_json
from soundloom.cli.options.flags import flag
from soundloom.cli.terminal.logs import at_level
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.streams import escaped
from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE
from soundloom.errors import RequestError
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.evaluation.evaluate import EvaluationConfig
    from soundloom.evaluation.report import Metric
    from soundloom.pipeline.stable_audio.model import Model

LONGEST = 60.0  # seconds that the synthetic world renders


@dataclass(frozen=True)
class Options:
    """Measure a model: what it makes of held-out prompts, its edits, its autoencoder, its speed, each beside its goal.

    The sounds are those of the synthetic world that the model was taught: of --families, of the file --sounds, of
    sounds.toml in the model's folder, or all.
    """

    model: str = flag(metavar="MODEL", help="a name, such as mini, or a folder")
    families: str | None = flag("--families", metavar="NAMES", help="with commas between them, or all")
    sounds: str | None = flag("--sounds", metavar="FILE", help="the TOML file of sounds that the model learnt")
    prompts: int = flag("--prompts", default=260, type=int, metavar="N", help="default: 260; 40 take about a minute")
    seeds: int = flag("--seeds", default=2, type=int, metavar="K", help="clips of each prompt (default: 2)")
    steps: int | None = flag("--steps", type=int, metavar="N", help="default: the model's, 8 for mini")
    seconds: float = flag("--seconds", default=4.0, type=float, metavar="S", help="of each clip (default: 4)")
    work: str | None = flag(
        "--work", metavar="FOLDER", help="of the model's training: also what its discriminators and critics say"
    )
    engine: str = flag("--engine", default="auto", metavar="NAME", help="auto, torch or mlx")
    device: str | None = flag("--device", metavar="NAME", help="default: the best there is")
    precision: str = flag("--precision", default="fp32", metavar="NAME", help="default: fp32")
    json: str | None = flag("--json", metavar="FILE", help="also write all figures, and each clip's, to a file")


def run(options: Options) -> None:
    scope = _scope(options)
    from soundloom.evaluation.evaluate import evaluate
    from soundloom.evaluation.report import table
    from soundloom.pipeline.stable_audio.model import load

    model = load(
        options.model, engine=options.engine, device=options.device, precision=options.precision, keep_loaded=True
    )
    if model.sample_rate != SAMPLE_RATE:
        raise RequestError(f"eval compares with sounds at {SAMPLE_RATE} Hz, and the model makes {model.sample_rate} Hz")
    if not (options.families or options.sounds):
        scope = scope.for_model(model)
    scope = replace(scope, seconds=min(scope.seconds, model.config.max_seconds))
    trained = _companions(Path(options.work), scope) if options.work else []
    with at_level(logging.ERROR):  # warnings about single clips are part of what is measured here
        report = evaluate(model, options.model, scope, _say, _flags(options))
    report = replace(report, metrics=[*report.metrics, *_losses(model, scope), *trained])
    print_results(table(report.metrics))
    if options.json:
        write_json(Path(options.json), {"model": model.name, "hash": model.checkpoint.fingerprint, **report.record()})


def _flags(options: Options) -> list[str]:
    """What tells another process to run the model as this one does."""
    device = ["--device", options.device] if options.device else []
    return ["--engine", options.engine, *device, "--precision", options.precision]


def _losses(model: Model, scope: EvaluationConfig) -> list[Metric]:
    """Losses of training, where PyTorch is there to compute them."""
    if find_spec("torch") is None:
        return []
    from soundloom.evaluation.evaluate import reference_prompts
    from soundloom.training.stages.evaluate import loss_rows

    return loss_rows(model, reference_prompts(scope), scope.seconds)


def _companions(work: Path, scope: EvaluationConfig) -> list[Metric]:
    """Losses of the autoencoder's training, on sounds that it never heard."""
    from soundloom.evaluation.evaluate import reference_prompts
    from soundloom.training.recipe import RunDirectory
    from soundloom.training.stages.evaluate import auxiliary_rows

    return auxiliary_rows(RunDirectory(expanded(work)), reference_prompts(scope), scope.seconds)


def _say(line: str) -> None:
    sys.stderr.write(escaped(f"{line}\n"))


def _scope(options: Options) -> EvaluationConfig:
    """How much is to be measured, and with which sounds if the options say so."""
    from soundloom.evaluation.evaluate import EvaluationConfig

    if options.prompts < 1 or options.seeds < 1 or (options.steps is not None and options.steps < 1):
        raise RequestError("--prompts, --seeds and --steps must be 1 or more")
    if not 1 <= options.seconds <= LONGEST:
        raise RequestError(f"--seconds must be between 1 and {LONGEST:g}, found {options.seconds:g}")
    scope = EvaluationConfig(
        prompts=options.prompts,
        seeds=options.seeds,
        steps=options.steps,
        seconds=options.seconds,
        edits=max(4, min(40, options.prompts // 4)),
    )
    if options.families:
        return replace(scope, sounds=replace(scope.sounds, families=_named(options.families)))
    return scope.with_sounds(Path(options.sounds)) if options.sounds else scope


def _named(families: str) -> tuple[str, ...]:
    names = FAMILIES if families == "all" else tuple(name.strip() for name in families.split(","))
    if unknown := [name for name in names if name not in FAMILIES]:
        raise RequestError(f"no such families of sounds: {', '.join(unknown)}", f"known: {', '.join(FAMILIES)}")
    return names
