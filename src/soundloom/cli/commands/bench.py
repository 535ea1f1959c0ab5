"""`soundloom bench`: seconds and memory on this machine, against an earlier run, diffusers or any command."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_file
from soundloom.bench.cases import Case, machine, make_cases, measure, require_weights, weights_folder
from soundloom.bench.report import compare, plot, ratio_line, read_baseline, table
from soundloom.cli.options.flags import Extend, flag, numbers, switch
from soundloom.cli.terminal.results import print_results
from soundloom.config.catalogue import require_entry
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.registry import ENGINES, engine_class
from soundloom.errors import RequestError

DEFAULT_SECONDS, DEFAULT_PRECISIONS, DEFAULT_MODELS = (5.0, 30.0), ("auto",), ("small-music",)
PUBLISHED_SECONDS, PUBLISHED_MODELS = (5.0, 30.0, 120.0, 380.0), ("small-music", "medium")


@dataclass(frozen=True)
class Options:
    """Measure models on full-size random weights, each case in a fresh process: cold, then warm.

    Weights are made once, in a cache folder; those of small-music take 2.8 GB.
    """

    models: Sequence[str] = flag(
        "--models", default=(), nargs="+", metavar="NAME", help=f"default: {', '.join(DEFAULT_MODELS)}"
    )
    seconds: Sequence[float] = flag(
        "--seconds", default=(), action=Extend, type=numbers(float), metavar="S", help="default: 5,30"
    )
    precisions: Sequence[str] = flag(
        "--precisions", default=DEFAULT_PRECISIONS, nargs="+", metavar="NAME", help="default: auto"
    )
    published: bool = switch(
        "--published", help="the rows of the published table: both sizes, 5, 30, 120 and 380 s as far as they go"
    )
    engine: str = flag("--engine", default="auto", choices=("auto", *ENGINES), help="default: the best there is")
    steps: int = flag("--steps", default=8, type=int, metavar="N", help="default: 8")
    runs: int = flag("--runs", default=3, type=int, metavar="N", help="warm ones, or turns (default: 3)")
    work: str | None = flag("--work", metavar="FOLDER", help="of the weights (default: soundloom's cache)")
    versus: str | None = flag("--versus", choices=("diffusers",), help="run its networks in turn with ours")
    versus_command: str | None = flag(
        "--versus-command", metavar="COMMAND", help="run any command in turn with soundloom's, whole processes"
    )
    json: str | None = flag("--json", metavar="FILE", help="write all figures to a file, a baseline for --compare")
    plot: str | None = flag("--plot", metavar="FILE", help="draw times over lengths into an SVG file")
    compare: str | None = flag("--compare", metavar="FILE", help="say what changed since a baseline")


def run(options: Options) -> None:
    cases = _cases(options)
    earlier = read_baseline(Path(options.compare)) if options.compare else None
    work = Path(options.work) if options.work else weights_folder()
    is_versus = bool(options.versus or options.versus_command)
    results: list[dict[str, Any]] = []
    try:
        for figures in _versus(cases, work, options.versus_command) if is_versus else measure(cases, work):
            results.append(figures)
            sys.stderr.write(f"measured {figures['case']}\n")
    finally:  # what was measured is kept when a later case fails
        if results:
            _keep(results, options, is_versus)
    if earlier is not None:
        print_results(compare(results, earlier))


def _keep(results: list[dict[str, Any]], options: Options, is_versus: bool) -> None:
    """Print the table, and write the files that were asked for."""
    if not is_versus:
        print_results(table(results))
    if options.json:
        with atomic_file(Path(options.json)) as file:
            file.write(json.dumps({"machine": machine(), "results": results}, indent=1).encode())
    if options.plot:
        with atomic_file(Path(options.plot)) as file:
            file.write(plot(results).encode())


def _cases(options: Options) -> list[Case]:
    models = options.models or (PUBLISHED_MODELS if options.published else DEFAULT_MODELS)
    seconds = options.seconds or (PUBLISHED_SECONDS if options.published else DEFAULT_SECONDS)
    longest = {name: _longest(name) for name in models}
    if options.steps < 1 or options.runs < 0 or not all(length > 0 for length in seconds):
        raise RequestError("--steps and --seconds must be above 0, and --runs not below")
    if (options.versus or options.versus_command) and (options.plot or options.compare):
        raise RequestError("--plot and --compare are for soundloom alone", "leave them out, or --versus…")
    if options.versus and options.engine == "mlx":
        raise RequestError("diffusers is compared with the PyTorch engine", "leave out --engine mlx")
    for path in filter(None, (options.json, options.plot)):
        if Path(path).is_dir():
            raise RequestError(f"{path} is a folder, not a file name")
    if options.versus_command is not None:
        _require_command(options.versus_command)
    engine_class(options.engine)  # refuses what is not installed
    cases = make_cases(models, seconds, options.precisions, options.steps, options.runs, options.engine)
    beyond = [case for case in cases if case.seconds > longest[case.model]]
    if beyond and not options.published:
        case, most = beyond[0], longest[beyond[0].model]
        raise RequestError(
            f"{case.model} makes at most {most:g} s, and --seconds asks for {case.seconds:g}",
            "measure such lengths with --models medium, or give --published, which leaves them out for the others",
        )
    cases = [case for case in cases if case not in beyond]
    return [replace(case, runs=max(case.runs, 1)) for case in cases] if options.versus_command else cases


def _require_command(command: str) -> None:
    """Raise RequestError for what no shell would run, before minutes are spent on our side of the comparison."""
    try:
        program = next(iter(shlex.split(command)), "")
    except ValueError as error:
        raise RequestError(f"--versus-command {command!r} is no command: {error}") from error
    if shutil.which(program) is None:
        raise RequestError(f"--versus-command names no program that can be run: {program!r}")


def _longest(model: str) -> float:
    config = require_entry(model).parsed_config()
    if not isinstance(config, ModelConfig):
        raise RequestError(f"{model} cannot generate", "name small-music, small-sfx or medium")
    return config.max_seconds


def _versus(cases: Sequence[Case], work: Path, command: str | None) -> Iterator[dict[str, Any]]:
    from soundloom.bench.versus import diffusers_apart, versus_command

    for case in cases:
        folder = require_weights(case.model, work)
        if command:
            figures = {"command": versus_command(case, folder, command)}
        else:
            figures = diffusers_apart(case, folder)
        print_results([ratio_line(f"{case.key}, {name}", part) for name, part in figures.items() if "ours" in part])
        yield {"case": case.key, **figures}
