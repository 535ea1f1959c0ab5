"""`soundloom lora bases`: write the singular vectors of a model's weights, for XS types."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.adapters import layer_progress, new_file
from soundloom.cli.loading import open_named
from soundloom.cli.options.adapters import AdapterOutputOptions
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import LicenseOptions
from soundloom.cli.options.shared import out_flag, rank_flag
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError
from soundloom.lora.bases import DEFAULT_RANK, write_bases
from soundloom.lora.modules import base_weights
from soundloom.lora.operations.merge import require_full_precision


@dataclass(frozen=True)
class Options(LicenseOptions, AdapterOutputOptions):
    """Write the first singular vectors and values of all weights that adapters may change.

    XS adapters need those of the model that they were trained on. With this file, neither training nor inference
    computes them again.
    """

    model: str = flag(metavar="MODEL", help="the model to train on: a name, a folder, or a file")
    out: str = out_flag(required=True, help="a .safetensors file")
    rank: int = rank_flag(default=DEFAULT_RANK, help="the largest rank of adapters to use it with")


def run(options: Options) -> None:
    if options.rank < 1:
        raise RequestError(f"--rank must be at least 1, found {options.rank}")
    path = new_file(options.out, options.overwrite)
    checkpoint = open_named(options.model, accept_license=options.accept_license)
    require_full_precision(checkpoint)
    weights = base_weights(checkpoint)
    with layer_progress("layers", len(weights), quiet=options.quiet) as progress:
        write_bases(path, weights, options.rank, options.stored_dtype, progress)
    facts = {"file": str(path), "model": checkpoint.name, "layers": len(weights), "rank": options.rank}
    print_results(facts if options.json else [f"{path}: {len(weights)} layers, up to {options.rank} vectors each"])
