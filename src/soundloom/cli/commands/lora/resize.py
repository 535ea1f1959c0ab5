"""`soundloom lora resize`: reduce the rank of an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from soundloom.cli.adapters import new_file, read
from soundloom.cli.options.adapters import AdapterOutputOptions
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.shared import measure_flag, out_flag, rank_flag
from soundloom.cli.terminal.results import print_results
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import group_of
from soundloom.lora.operations.resize import MEASURES, ResizedLayer, resize


@dataclass(frozen=True)
class Options(AdapterOutputOptions):
    """Reduce the rank of an adapter to the best approximation of its change, and report what is lost.

    Give --rank, or --keep with a measure: sv_fro keeps a share of the Frobenius norm of the change, sv_cumulative a
    share of the sum of its singular values, sv_ratio the values above a share of the largest. Magnitudes stay.
    """

    file: str = flag(metavar="FILE", help="an adapter in any form, or a folder with one")
    out: str = out_flag(required=True, help="a .safetensors file")
    rank: int | None = rank_flag(help="the new rank of all layers")
    keep: float | None = flag("--keep", type=float, metavar="SHARE", help="choose the rank of each layer by its values")
    measure: Literal["sv_fro", "sv_cumulative", "sv_ratio"] = measure_flag(
        default="sv_fro", choices=MEASURES, help="what --keep is a share of"
    )
    per_layer: bool = switch(
        "--per-layer", help="store each layer at its own rank; smaller, but the published package does not load it"
    )


def run(options: Options) -> None:
    path = new_file(options.out, options.overwrite)
    adapter, layers = resize(read(options.file), rank=options.rank, keep=options.keep, measure=options.measure)
    write_adapter(path, adapter, dtype=options.stored_dtype, uniform=not options.per_layer)
    if options.json:
        print_results({"file": str(path), "rank": adapter.rank, "layers": [asdict(layer) for layer in layers]})
    else:
        print_results([f"{path}: rank {adapter.rank}", *_lines(layers)])


def _lines(layers: Sequence[ResizedLayer]) -> list[str]:
    groups: dict[str, list[ResizedLayer]] = {}
    for layer in layers:
        groups.setdefault(group_of(layer.name), []).append(layer)
    lines = []
    for group, members in groups.items():
        ranks, errors = [one.rank for one in members], [one.error for one in members]
        span = f"rank {min(ranks)}" if min(ranks) == max(ranks) else f"ranks {min(ranks)} to {max(ranks)}"
        mean = sum(errors) / len(errors)
        lines.append(f"{group}: {len(members)} layers, {span}, lost {mean:.1%} on average, at most {max(errors):.1%}")
    return lines
