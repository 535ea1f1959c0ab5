"""`soundloom lora bake`: store norms of adapted rows in an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from soundloom.cli.adapters import new_file, read_for, save
from soundloom.cli.loading import open_named
from soundloom.cli.options.adapters import AdapterModelOptions, AdapterOutputOptions
from soundloom.cli.options.flags import flag
from soundloom.cli.options.shared import model_flag, out_flag
from soundloom.cli.terminal.results import print_results
from soundloom.lora.modules import base_weights
from soundloom.lora.operations.bake import bake
from soundloom.lora.operations.merge import require_full_precision


@dataclass(frozen=True)
class Options(AdapterModelOptions, AdapterOutputOptions):
    """Store the norms of adapted rows at strength 1 in an adapter of a dora-rows type, for programs that read them.

    soundloom computes these norms itself.
    """

    file: str = flag(metavar="FILE", help="an adapter in any form, or a folder with one")
    model: str = model_flag(required=True, help="the model whose norms to store: a name, a folder, or a file")
    out: str | None = out_flag(help="a .safetensors file (default: FILE with the suffix .normbaked.safetensors)")


def run(options: Options) -> None:
    default = Path(options.file).with_suffix(".normbaked.safetensors")
    path = new_file(options.out or str(default), options.overwrite)
    checkpoint = open_named(options.model, accept_license=options.accept_license)
    require_full_precision(checkpoint)
    adapter = read_for(options.file, checkpoint, bases=options.bases, partial=options.partial)
    bases = Path(options.bases).name if options.bases else "none"
    baked = bake(adapter, base_weights(checkpoint), checkpoint.name, bases=bases)
    save(path, baked, dtype=options.stored_dtype)
    facts = {"file": str(path), "model": checkpoint.name, "layers": len(baked.modules)}
    print_results(facts if options.json else [f"{path}: norms of {len(baked.modules)} layers for {checkpoint.name}"])
