"""`soundloom bench`: measure speed and memory, and compare with an earlier run or another command."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_file, write_json
from soundloom.bench.busy import busy_processes
from soundloom.bench.cases import Case, machine, make_cases, measure, require_weights, weights_folder
from soundloom.bench.report import compare, plot, ratio_line, read_baseline, table
from soundloom.cli.options.flags import Extend, flag, numbers, switch
from soundloom.cli.options.model import EngineOptions, ThreadOptions
from soundloom.cli.options.output import SaveOptions
from soundloom.cli.options.shared import models_flag, precisions_flag, seconds_flag, steps_flag, weights_flag
from soundloom.cli.terminal.results import print_results
from soundloom.config.catalogue import require_entry
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.registry import engine_class
from soundloom.errors import RequestError

DEFAULT_SECONDS, DEFAULT_PRECISIONS, DEFAULT_MODELS = (5.0, 30.0), ("auto",), ("small-music",)
PUBLISHED_SECONDS, PUBLISHED_MODELS = (5.0, 30.0, 120.0, 380.0), ("small-music", "medium")


@dataclass(frozen=True)
class Options(EngineOptions, ThreadOptions, SaveOptions):
    """Measure speed and memory of models with random weights, each case in a new process: cold, then warm.

    The weights are generated once and cached; those of small-music take 2.8 GB.
    """

    models: Sequence[str] = models_flag(
        default=(),
        nargs="+",
        metavar="NAME",
        help=f"models to measure (default: {', '.join(DEFAULT_MODELS)})",
    )
    seconds: Sequence[float] = seconds_flag(
        default=(), action=Extend, type=numbers(float), help="lengths of the clips (default: 5,30)"
    )
    precisions: Sequence[str] = precisions_flag(default=DEFAULT_PRECISIONS, help="precisions of the transformer")
    published: bool = switch(
        "--published", help="measure the cases of the published table: small-music and medium at 5, 30, 120, and 380 s"
    )
    steps: int = steps_flag(default=8, help="sampling steps")
    runs: int = flag(
        "--runs", default=3, type=int, metavar="N", help="warm runs; with --versus-command, runs of each command"
    )
    weights: str | None = weights_flag(
        hidden=("--work",), metavar="FOLDER", help="where the weights are stored (default: the cache)"
    )
    versus_command: str | None = flag(
        "--versus-command",
        metavar="COMMAND",
        help="alternate `soundloom generate` with this command, and compare times and peak memory",
    )
    busy: int = flag(
        "--busy", default=0, type=int, metavar="N", help="meanwhile keep N other processes busy (default: 0)"
    )
    plot: str | None = flag("--plot", metavar="FILE", help="plot time over length into an SVG file")
    compare: str | None = flag("--compare", metavar="FILE", help="print changes since a run saved with --save")


def run(options: Options) -> None:
    cases = _cases(options)
    earlier = read_baseline(Path(options.compare)) if options.compare else None
    results: list[dict[str, Any]] = []
    try:
        with busy_processes(options.busy):
            for figures in _measure(cases, options):
                results.append(figures)
                sys.stderr.write(f"measured {figures['case']}\n")
    finally:  # also when a later case fails
        if results:
            _report(results, compare(results, earlier) if earlier is not None else [], options)


def _report(results: list[dict[str, Any]], changes: list[str], options: Options) -> None:
    """Print the results, and write the requested files."""
    figures = {"machine": machine(), "busy": options.busy, "results": results}
    if options.json:
        print_results(figures | {"changes": changes})
    elif not options.versus_command:
        print_results([*table(results), *changes])
    if options.save:
        write_json(Path(options.save), figures)
    if options.plot:
        with atomic_file(Path(options.plot)) as file:
            file.write(plot(results).encode())


def _cases(options: Options) -> list[Case]:
    models = options.models or (PUBLISHED_MODELS if options.published else DEFAULT_MODELS)
    seconds = options.seconds or (PUBLISHED_SECONDS if options.published else DEFAULT_SECONDS)
    limits = {name: _max_seconds(name) for name in models}
    if options.steps < 1 or min(options.runs, options.busy) < 0 or not all(length > 0 for length in seconds):
        raise RequestError("--steps and --seconds must be above 0, and --runs and --busy 0 or more")
    if options.versus_command and (options.plot or options.compare):
        raise RequestError("--plot and --compare do not work with --versus-command", "leave them out")
    options.check_save()
    if options.plot and Path(options.plot).is_dir():
        raise RequestError(f"--plot {options.plot} is a folder", "name a file in it")
    if options.versus_command is not None:
        _require_command(options.versus_command)
    engine_class(options.engine)  # raises an error unless it is installed
    cases = make_cases(
        models, seconds, options.precisions, options.steps, options.runs, options.engine, options.threads
    )
    beyond = [case for case in cases if case.seconds > limits[case.model]]
    if beyond and not options.published:
        case, limit = beyond[0], limits[beyond[0].model]
        raise RequestError(
            f"{case.model} generates at most {limit:g} s, but --seconds is {case.seconds:g}",
            "use --models medium, or --published, which skips lengths that a model does not support",
        )
    cases = [case for case in cases if case not in beyond]
    return [replace(case, runs=max(case.runs, 1)) for case in cases] if options.versus_command else cases


def _require_command(command: str) -> None:
    """Raise RequestError for an invalid command, before the first case takes minutes."""
    try:
        program = next(iter(shlex.split(command)), "")
    except ValueError as error:
        raise RequestError(f"--versus-command {command!r} is not a valid command: {error}") from error
    if shutil.which(program) is None:
        raise RequestError(f"--versus-command: there is no program {program!r}")


def _max_seconds(model: str) -> float:
    config = require_entry(model).parsed_config()
    if not isinstance(config, ModelConfig):
        raise RequestError(f"{model} cannot generate", "use small-music, small-sfx, or medium")
    return config.max_seconds


def _measure(cases: Sequence[Case], options: Options) -> Iterator[dict[str, Any]]:
    weights = Path(options.weights) if options.weights else weights_folder()
    if options.versus_command is None:
        yield from measure(cases, weights)
        return
    from soundloom.bench.versus import versus_command

    for case in cases:
        figures = versus_command(case, require_weights(case.model, weights), options.versus_command)
        if not options.json:
            print_results([ratio_line(case.key, figures)])
        yield {"case": case.key, "command": figures}
