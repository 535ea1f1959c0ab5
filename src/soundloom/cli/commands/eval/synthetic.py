"""`soundloom eval`: evaluate a model on held-out prompts."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.atomic import write_json
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import DeviceOptions, EngineOptions
from soundloom.cli.options.output import SaveOptions
from soundloom.cli.options.shared import (
    precision_flag,
    prompts_flag,
    seconds_flag,
    seeds_flag,
    sounds_flag,
    steps_flag,
    work_flag,
)
from soundloom.cli.terminal.logs import at_level
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.streams import escaped
from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE
from soundloom.errors import RequestError
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.evaluation.metrics import Metric
    from soundloom.evaluation.synthetic.evaluate import EvaluationConfig
    from soundloom.pipeline.stable_audio.model import Model

MAX_SECONDS = 60.0  # seconds; the synthetic dataset has no longer clips


@dataclass(frozen=True)
class Options(EngineOptions, DeviceOptions, SaveOptions):
    """Evaluate a model on held-out prompts: prompt adherence, edits, autoencoder, and speed, each next to its goal.

    Prompts and reference audio come from the synthetic dataset. By default they cover the families in sounds.toml in
    the model's folder, or all families if there is no such file.
    """

    model: str = flag(metavar="MODEL", help="a name, such as mini, or a folder")
    families: str | None = flag("--families", metavar="NAMES", help="comma-separated families of sounds, or all")
    sounds: str | None = sounds_flag(metavar="FILE", help="TOML file of the dataset that the model was trained on")
    prompts: int = prompts_flag(default=260, help="number of held-out prompts; 40 take about a minute")
    seeds: int = seeds_flag(default=2, help="clips per prompt")
    steps: int | None = steps_flag(help="sampling steps (default: the model's)")
    seconds: float = seconds_flag(default=4.0, help="length of each clip")
    work: str | None = work_flag(help="run directory of the training: also report the losses of the autoencoder")
    precision: str = precision_flag(default="fp32", help="precision of the transformer")


def run(options: Options) -> None:
    options.check_save()
    scope = _scope(options)
    from soundloom.evaluation.metrics import table
    from soundloom.evaluation.synthetic.evaluate import evaluate
    from soundloom.pipeline.load import load_stable_audio

    model = load_stable_audio(
        options.model,
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        keep_loaded=True,
    )
    if model.sample_rate != SAMPLE_RATE:
        raise RequestError(f"eval needs a model at {SAMPLE_RATE} Hz, but this one generates {model.sample_rate} Hz")
    if not (options.families or options.sounds):
        scope = scope.for_model(model)
    scope = replace(scope, seconds=min(scope.seconds, model.config.max_seconds))
    trained = _autoencoder_losses(Path(options.work), scope) if options.work else []
    with at_level(logging.ERROR):  # warnings about single clips are part of the evaluation
        report = evaluate(model, options.model, scope, _print_progress, _flags(options))
    report = replace(report, metrics=[*report.metrics, *_losses(model, scope), *trained])
    figures = {"model": model.name, "hash": model.checkpoint.fingerprint, **report.record()}
    print_results(figures if options.json else table(report.metrics))
    if options.save:
        write_json(Path(options.save), figures)


def _flags(options: Options) -> list[str]:
    """Return the flags that make another process run the model like this one."""
    device = ["--device", options.device] if options.device else []
    threads = ["--threads", str(options.threads)] if options.threads else []
    return ["--engine", options.engine, *device, "--precision", options.precision, *threads]


def _losses(model: Model, scope: EvaluationConfig) -> list[Metric]:
    """Return training losses, if PyTorch is installed."""
    if find_spec("torch") is None:
        return []
    from soundloom.training.stages.evaluate import loss_metrics

    return loss_metrics(model, scope.reference_prompts(), scope.seconds)


def _autoencoder_losses(work: Path, scope: EvaluationConfig) -> list[Metric]:
    """Return losses of the autoencoder's training on held-out audio."""
    from soundloom.training.run_directory import RunDirectory
    from soundloom.training.stages.evaluate import auxiliary_metrics

    return auxiliary_metrics(RunDirectory(expanded(work)), scope.reference_prompts(), scope.seconds)


def _print_progress(line: str) -> None:
    sys.stderr.write(escaped(f"{line}\n"))


def _scope(options: Options) -> EvaluationConfig:
    """Return the scope of the evaluation. Raises RequestError."""
    from soundloom.evaluation.synthetic.evaluate import EvaluationConfig

    if options.prompts < 1 or options.seeds < 1 or (options.steps is not None and options.steps < 1):
        raise RequestError("--prompts, --seeds and --steps must be 1 or more")
    if not 1 <= options.seconds <= MAX_SECONDS:
        raise RequestError(f"--seconds must be between 1 and {MAX_SECONDS:g}, found {options.seconds:g}")
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
        raise RequestError(f"unknown families of sounds: {', '.join(unknown)}", f"known: {', '.join(FAMILIES)}")
    return names
