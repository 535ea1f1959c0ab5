"""`soundloom eval sweep`: a model at several settings, with the same prompts and seeds."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.cli.loading import confirmation
from soundloom.cli.measuring import finish_report
from soundloom.cli.options.evaluation import RecipeOptions, ReportOptions
from soundloom.cli.options.flags import Extend, flag, numbers
from soundloom.cli.options.model import DeviceOptions, DownloadOptions, EngineOptions
from soundloom.cli.options.shared import (
    PRECISIONS,
    cfg_flag,
    held_out_flag,
    lora_flag,
    precision_flag,
    prompt_file_flag,
    reference_flag,
    require_length,
    sampler_flag,
    seconds_flag,
    seeds_flag,
    steps_flag,
    strength_flag,
)
from soundloom.cli.terminal.counting import counter
from soundloom.cli.terminal.logs import at_level
from soundloom.config.stable_audio.request import sampler_name
from soundloom.errors import RequestError

if TYPE_CHECKING:
    from soundloom.evaluation.reports.embeddings import StoredEmbeddings
    from soundloom.evaluation.reports.record import Report
    from soundloom.evaluation.sets.generation import GeneratedSet
    from soundloom.evaluation.sets.prompts import PromptList
    from soundloom.evaluation.sweep import Grid, Measure
    from soundloom.pipeline.stable_audio.model import Model


def _names(allowed: Sequence[str] = ()) -> Callable[[str], list[str]]:
    """Return a parser of comma-separated names."""

    def read(text: str) -> list[str]:
        found = [part.strip() for part in text.split(",")]
        if unknown := [name for name in found if allowed and name not in allowed]:
            raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(allowed)}")
        return found

    return read


@dataclass(frozen=True)
class Options(EngineOptions, DeviceOptions, DownloadOptions, RecipeOptions, ReportOptions):
    """Measure a model at every combination of the settings, and compare each with the first.

    soundloom eval sweep mini --steps 2,4,8 --precision fp32,int8

    All settings get the same prompts and seeds. Without --prompts, these are held-out prompts of the synthetic
    dataset, whose labels are exact; with --prompts, clips are compared with --reference.
    """

    model: str = flag(metavar="MODEL", help="a name, such as mini, or a folder")
    steps: Sequence[int] = steps_flag(default=(), action=Extend, type=numbers(int), help="such as 2,4,8")
    cfg: Sequence[float] = cfg_flag(default=(), action=Extend, type=numbers(float), help="such as 1,3,7")
    sampler: Sequence[str] = sampler_flag(default=(), action=Extend, type=_names(), help="such as pingpong,euler")
    precision: Sequence[str] = precision_flag(
        default=(), action=Extend, type=_names(PRECISIONS), choices=None, metavar="NAME", help="such as fp32,int8"
    )
    lora: Sequence[str] | None = lora_flag(help="an adapter: a file or a name; repeatable")
    lora_strength: Sequence[float] = strength_flag(
        default=(), action=Extend, type=numbers(float), help="such as 0,0.5,1"
    )
    prompts: str | None = prompt_file_flag(help="text, CSV or JSONL file of prompts")
    reference: str | None = reference_flag()
    held_out: int = held_out_flag(default=40, type=int, metavar="N", help="synthetic prompts (default: 40)")
    seeds: int = seeds_flag()
    seconds: float = seconds_flag(default=4.0, help="length where the prompts state none (default: 4)")

    def grid(self) -> Grid:
        """Return the grid of settings. Raises RequestError."""
        from soundloom.evaluation.sweep import Grid

        given: dict[str, Any] = {
            "precision": tuple(self.precision),
            "steps": tuple(self.steps),
            "cfg": tuple(self.cfg),
            "sampler": tuple(sampler_name(name) for name in self.sampler),
            "strength": tuple(self.lora_strength),
        }
        grid = Grid(**{name: values for name, values in given.items() if values})
        grid.settings()
        return grid

    def check(self) -> None:
        """Raise RequestError for what does not go together."""
        if bool(self.prompts) != bool(self.reference):
            raise RequestError("--prompts and --reference go together", "leave out both for synthetic prompts")
        if self.lora_strength and not self.lora:
            raise RequestError("--lora-strength needs --lora", "name an adapter")
        if min(self.seeds, self.held_out, *self.steps) < 1:
            raise RequestError("--seeds, --held-out and --steps must be 1 or more")
        require_length(self.seconds)


def run(options: Options) -> int:
    options.check()
    grid, folder = options.grid(), options.folder
    from soundloom.evaluation.sweep import Sweep, run_sweep, sweep_table

    load = _loader(options)
    prompts, measure, quality = _against_reference(options) if options.prompts else _synthetic(options, load(""))
    adapters = tuple(f"adapter{number}" for number in range(1, len(options.lora or ()) + 1))
    sweep = Sweep(
        *(grid, prompts, options.seconds, load, measure, quality),
        adapters=adapters,
        log=lambda name: counter(name, options.quiet),
    )
    with tempfile.TemporaryDirectory(prefix="soundloom-sweep-") as temporary:
        with at_level(logging.ERROR):  # warnings about single clips are part of the report
            report = run_sweep(sweep, folder or Path(temporary))
        return finish_report(report, options, {}, sweep_table(report))


def _loader(options: Options) -> Callable[[str], Model]:
    """Return a function that loads the model by precision, with the adapters; "" is the first precision."""

    def load(precision: str) -> Model:
        from soundloom.pipeline.load import load_stable_audio

        model = load_stable_audio(
            options.model,
            confirmation(),
            engine=options.engine,
            device=options.device,
            precision=precision or (options.precision[0] if options.precision else "auto"),
            threads=options.threads,
            revision=options.revision,
            offline=options.offline,
            accept_license=options.accept_license,
            keep_loaded=True,
        )
        for number, file in enumerate(options.lora or (), 1):
            model.add_lora(file, name=f"adapter{number}")
        return model

    return load


def _synthetic(options: Options, model: Model) -> tuple[PromptList, Measure, str]:
    from soundloom.evaluation.subjects import model_facts
    from soundloom.evaluation.synthetic.evaluate import EvaluationConfig
    from soundloom.evaluation.synthetic.prompts import FIGURE, held_out_prompts, obeyed_report

    seconds = min(options.seconds, model.config.max_seconds)
    config = EvaluationConfig(prompts=options.held_out, seeds=options.seeds, seconds=seconds).for_model(model)
    prompts, labels = held_out_prompts(config)

    def measure(made: GeneratedSet, model: Model) -> tuple[Report, dict[str, StoredEmbeddings]]:
        return replace(obeyed_report(made, labels, prompts.hash), subject=model_facts(model)), {}

    return prompts, measure, FIGURE


def _against_reference(options: Options) -> tuple[PromptList, Measure, str]:
    from soundloom.evaluation.sets.prompts import read_prompts
    from soundloom.evaluation.sets.report import Measuring, load_reference, set_report
    from soundloom.evaluation.subjects import model_facts

    assert options.prompts and options.reference
    prompts = read_prompts(options.prompts, options.seeds)
    recipe = options.chosen_recipe()
    measuring = Measuring(options.open_embedder(recipe, options.device), recipe, options.open_cache())
    reference = load_reference(options.reference, measuring)

    def measure(made: GeneratedSet, model: Model) -> tuple[Report, dict[str, StoredEmbeddings]]:
        sounds = made.as_set(prompts.name)
        report, stored = set_report(sounds, reference, measuring, made.failures, model_facts(model), allow_small=True)
        report = replace(report, data={**report.data, "manifest": prompts.hash, "seeds": prompts.count})
        return report, {measuring.embedder.info.name: stored}

    return prompts, measure, f"kad/{measuring.embedder.info.name}/{recipe.name}"
