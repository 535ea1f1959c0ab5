"""`soundloom lora convert`: convert an adapter to the native form, or from XS types."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.adapters import new_file, read, read_for, save
from soundloom.cli.options.adapters import AdapterModelOptions, AdapterOutputOptions
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.shared import ema_flag
from soundloom.cli.terminal.results import print_results
from soundloom.lora.adapter import Adapter
from soundloom.lora.operations.convert import to_lora


@dataclass(frozen=True)
class Options(AdapterModelOptions, AdapterOutputOptions):
    """Convert an adapter in any form to the native form, which the published package and other programs load.

    XS types train a small core between singular vectors of the model's weights. Their files also get these vectors if
    the model or a bases file is named, and then need neither any more.
    """

    file: str = flag(metavar="IN", help="an adapter in any form, or a folder with one")
    out: str = flag(metavar="OUT", help="a .safetensors file")
    to: str | None = flag("--to", choices=("lora",), help="convert XS types to those with free factors, exactly")
    ema: bool = ema_flag(
        default=False, action="store_true", help="read the moving average of a training checkpoint that holds both"
    )
    slim: bool = switch("--slim", help="leave out the singular vectors of XS types")


def run(options: Options) -> None:
    path = new_file(options.out, options.overwrite)
    adapter = _read(options)
    converted = to_lora(adapter) if options.to else adapter
    save(path, converted, dtype=options.stored_dtype, slim=options.slim)
    facts = {"file": str(path), "from": adapter.form, "type": converted.type, "layers": len(converted.modules)}
    described = f"{path}: {adapter.form} {adapter.type} to {converted.type}, {len(converted.modules)} layers"
    print_results(facts if options.json else [described])


def _read(options: Options) -> Adapter:
    if options.model is not None:
        from soundloom.cli.loading import open_named

        checkpoint = open_named(options.model, accept_license=options.accept_license)
        return read_for(options.file, checkpoint, bases=options.bases, partial=options.partial, ema=options.ema)
    adapter = read(options.file, ema=options.ema)
    if options.bases is None:
        return adapter
    from soundloom.lora.bases import with_bases

    return with_bases(adapter, {}, options.bases)
