"""`soundloom lora merge`: write a model with adapters merged into its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from soundloom.checkpoints.stable_audio.bundle import BUNDLE_BITS, require_group_size
from soundloom.checkpoints.stable_audio.convert import require_empty_or_same
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.save import LAYOUTS
from soundloom.cli.adapters import read_for, warn_of_shared_seconds
from soundloom.cli.loading import open_named
from soundloom.cli.options.adapters import AdapterModelOptions
from soundloom.cli.options.loras import LoraOptions
from soundloom.cli.options.model import GroupSizeOptions
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import layout_flag, lora_flag, model_flag, out_flag
from soundloom.cli.terminal.results import print_results
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse
from soundloom.errors import RequestError
from soundloom.folders import expanded
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.find import locate_adapter
from soundloom.lora.operations.merge import merge, require_full_precision
from soundloom.lora.stack import layer_parts, require_ungated, shares_seconds


@dataclass(frozen=True)
class Options(LoraOptions, AdapterModelOptions, GroupSizeOptions, JsonOptions):
    """Write a model whose weights include adapters, so that they cost no time and need no files.

    Weights are merged in float32 and rounded once. A quantized model cannot be merged into: merge into the model that
    it was made from, and quantize the result, with --layout int4 or with `soundloom quantize`.
    """

    model: str = model_flag(required=True, help="the model: a name from `soundloom models`, a folder, or a file")
    loras: Sequence[str] = lora_flag(
        required=True,
        hidden=("--lora-ckpt-path",),
        help="an adapter and its strength (default: 1); repeatable. Settings may follow: mode=full, only=ff, "
        "off=cross_attn, layers=ff:0.5",
    )
    out: str = out_flag(required=True, metavar="FOLDER", help="a new or empty folder")
    layout: str = layout_flag(default="published", choices=LAYOUTS, help=f"layout of the result: {', '.join(LAYOUTS)}")


def run(options: Options) -> None:
    folder = expanded(options.out)
    if options.layout in BUNDLE_BITS:
        require_group_size(options.group_size)
    require_empty_or_same(folder)
    stack = (options.stack(None, 1, options.model, partial=options.partial) or AdapterStack()).resolved("fade")
    require_ungated(stack)
    checkpoint = open_named(options.model, accept_license=options.accept_license)
    require_full_precision(checkpoint)
    adapters = [_read(options, use, checkpoint) for use in stack.uses]
    layers = layer_parts(stack, adapters)
    if not layers:
        raise RequestError("at these strengths the adapters change nothing", "give strengths other than 0")
    if shares_seconds(stack, adapters):
        warn_of_shared_seconds(adapters)
    combine = stack.combine or "chain"
    uses = [_record(use, adapter) for use, adapter in zip(stack.uses, adapters, strict=True)]
    provenance = {"adapters": uses, "seconds": stack.seconds}
    merge(
        checkpoint,
        layers,
        folder,
        provenance,
        combine=combine,
        layout=options.layout,
        group_size=options.group_size,
    )
    facts = {"folder": str(folder), "model": checkpoint.name, "layout": options.layout, "layers": len(layers)}
    names = " and ".join(f"{use.name} at {use.strength:g}" for use in stack.uses)
    line = f"{folder}: {checkpoint.name} with {names}, {len(layers)} layers changed"
    print_results(facts | provenance if options.json else [line])


def _read(options: Options, use: AdapterUse, checkpoint: Checkpoint) -> Adapter:
    path = locate_adapter(use.name, use.sha256, options.lora_dir)
    return read_for(str(path), checkpoint, bases=options.bases, partial=options.partial)


def _record(use: AdapterUse, adapter: Adapter) -> dict[str, Any]:
    """Return what identifies an adapter and its strength, for the metadata of the result."""
    kept = ("name", "strength", "mode", "sha256", "only", "off", "layers")
    return {key: value for key, value in asdict(use).items() if key in kept and value != ()} | {"type": adapter.type}
