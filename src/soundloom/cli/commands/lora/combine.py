"""`soundloom lora combine`: combine several adapters into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soundloom.cli.adapters import (
    layer_progress,
    new_file,
    read,
    read_for,
    residual_facts,
    residual_lines,
    save,
    warn_of_shared_seconds,
)
from soundloom.cli.options.adapters import AdapterModelOptions, AdapterOutputOptions
from soundloom.cli.options.flags import Extend, flag, numbers
from soundloom.cli.options.shared import out_flag, rank_flag, weights_flag
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError
from soundloom.lora.adapter import Adapter
from soundloom.lora.operations.combine import combine_exactly, combine_for, is_exact
from soundloom.lora.operations.extract import Residual


@dataclass(frozen=True)
class Options(AdapterModelOptions, AdapterOutputOptions):
    """Combine several adapters at given strengths into one.

    Adapters of type lora, or lora-xs with their singular vectors, combine exactly, and their ranks add up. Others need
    --model: the result has the type dora-rows and approximates what they do to its weights one after the other, and
    the error is printed.
    """

    files: Sequence[str] = flag(nargs="+", metavar="FILE", help="two or more adapters")
    out: str = out_flag(required=True, help="a .safetensors file")
    weights: Sequence[float] = weights_flag(
        default=(),
        nargs="+",
        action=Extend,
        type=numbers(float),
        metavar="S",
        help="a strength for each, in the order of the files (default: 1)",
    )
    rank: int | None = rank_flag(help="rank of an approximate result (default: the sum of the ranks)")


def run(options: Options) -> None:
    path = new_file(options.out, options.overwrite)
    combined, residuals = _combine(options, path.stem)
    save(path, combined, dtype=options.stored_dtype)
    if options.json:
        facts = {"file": str(path), "type": combined.type, "rank": combined.rank, "exact": not residuals}
        print_results(facts | {"groups": residual_facts(residuals)})
    else:
        exact = "" if residuals else ", exact"
        print_results([f"{path}: {combined.type}, rank {combined.rank}{exact}", *residual_lines(residuals)])


def _combine(options: Options, name: str) -> tuple[Adapter, list[Residual]]:
    strengths = list(options.weights) or [1.0] * len(options.files)
    if options.model is None:
        adapters = [read(file) for file in options.files]
        _require_exact(adapters)
        warn_of_shared_seconds(adapters)
        return combine_exactly(adapters, strengths, name), []
    from soundloom.cli.loading import open_named
    from soundloom.lora.modules import base_weights

    checkpoint = open_named(options.model, accept_license=options.accept_license)
    adapters = [read_for(file, checkpoint, bases=options.bases, partial=options.partial) for file in options.files]
    warn_of_shared_seconds(adapters)
    if is_exact(adapters):
        return combine_exactly(adapters, strengths, name), []
    total = len({layer for adapter in adapters for layer in adapter.modules})
    with layer_progress("layers", total, quiet=options.quiet) as progress:
        return combine_for(base_weights(checkpoint), adapters, strengths, name, rank=options.rank, progress=progress)


def _require_exact(adapters: Sequence[Adapter]) -> None:
    for adapter in adapters:
        if not is_exact([adapter]):
            raise RequestError(
                f"{adapter.name} is of type {adapter.type}, which can only be combined for the weights of a model",
                "name the model with --model",
            )
