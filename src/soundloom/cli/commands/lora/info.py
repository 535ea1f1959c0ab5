"""`soundloom lora info`: describe an adapter, and check that it fits a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from soundloom.cli.adapters import layer_progress, read_for
from soundloom.cli.options.adapters import AdapterModelOptions
from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions, QuietOptions
from soundloom.cli.terminal.results import print_results
from soundloom.errors import printable
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.find import find_adapter
from soundloom.lora.files.read import read_adapter
from soundloom.lora.guardrails import canonical_model, check_settings, fitting_models, inverted_rows, require_known_fit
from soundloom.lora.modules import GROUPS, group_of

_BAKED_FOR_OTHERS = 1e-3  # relative; norms of a base model and of the post-trained one differ by 2e-3


@dataclass(frozen=True)
class Options(AdapterModelOptions, JsonOptions, QuietOptions):
    """Describe an adapter: its type, rank, layers, model, and what is unusual about it.

    With --model, check that it fits, and measure how much it changes each group of layers at strength 1: |change| /
    |weights|, and the part of it that is added before norms are set.
    """

    file: str = flag(metavar="FILE", help="an adapter in any form, or a folder with one")


def run(options: Options) -> None:
    if options.model is None:
        adapter = read_adapter(find_adapter(options.file))
        facts = describe(adapter) | {"notices": [*adapter.notices, *check_settings(adapter)]}
    else:
        facts = _with_model(options, options.model)
    print_results(facts if options.json else lines_of(facts))


def describe(adapter: Adapter) -> dict[str, Any]:
    """Return facts about an adapter that need no model."""
    modules = adapter.modules.values()
    sizes = [tensor for module in modules for tensor in module.tensors.values()]
    groups = Counter(map(group_of, adapter.modules))
    inverted = inverted_rows(adapter)
    return {
        "name": adapter.name,
        "file": str(adapter.path) if adapter.path else None,
        "form": adapter.form,
        "sha256": adapter.sha256,
        "type": adapter.type,
        "rank": adapter.rank,
        "ranks": sorted({module.rank for module in modules}),
        "alpha": adapter.alpha,
        "layers": len(adapter.modules),
        "groups": {group: groups[group] for group in (*GROUPS, "others") if groups[group]},
        "base_model": adapter.config.get("base_model"),
        "fits": fitting_models(adapter),
        "step": adapter.config.get("step"),
        "epoch": adapter.config.get("epoch"),
        "dataset": adapter.config.get("dataset"),
        "trigger": adapter.hints.get("trigger"),
        "recommended_strength": adapter.hints.get("recommended_strength"),
        "include": list(adapter.include),
        "exclude": list(adapter.exclude),
        "parameters": sum(_count(tensor.shape) for tensor in sizes),
        "bytes": sum(tensor.nbytes for tensor in sizes),
        "dtypes": sorted({tensor.dtype for tensor in sizes}),
        "own_bases": all(module.has_factors for module in modules) if adapter.type.endswith("-xs") else None,
        "inverted_rows": {"layers": len(inverted), "largest_share": max(inverted.values(), default=0.0)},
    }


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _with_model(options: Options, model: str) -> dict[str, Any]:
    require_known_fit(read_adapter(find_adapter(options.file)), model, partial=options.partial)
    from soundloom.cli.loading import open_named
    from soundloom.lora.arithmetic import column_norms, row_norms
    from soundloom.lora.guardrails import check_norms
    from soundloom.lora.modules import base_weights
    from soundloom.lora.operations.bake import baked_difference
    from soundloom.lora.operations.measure import measure, warnings_of
    from soundloom.lora.operations.weights import reading

    checkpoint = open_named(model, accept_license=options.accept_license)
    adapter = read_for(options.file, checkpoint, bases=options.bases, partial=options.partial, quiet=True)
    weights = base_weights(checkpoint)

    def norms(name: str, of_rows: bool) -> Any:
        with reading(weights[name]) as weight:
            return (row_norms if of_rows else column_norms)(weight)

    warnings = check_norms(adapter, norms)
    with layer_progress("layers", len(adapter.modules), quiet=options.quiet) as progress:
        changes = measure(adapter, weights, progress)
    warnings += warnings_of(changes)
    difference = baked_difference(adapter, weights)
    if difference > _BAKED_FOR_OTHERS:
        warnings.append(f"its stored row norms are for other weights, off by {difference:.1e}; they are not used")
    facts = describe(adapter) | {"model": checkpoint.name, "changes": [asdict(one) for one in changes]}
    return facts | {"notices": [*adapter.notices, *warnings]}


def lines_of(facts: dict[str, Any]) -> list[str]:
    """Return the facts as text, without those that are unknown."""
    scale = f"rank {_ranks(facts['ranks'])}, alpha {facts['alpha']:g}"
    size = f"{facts['parameters']:,} values, {facts['bytes'] / 1e6:.1f} MB ({', '.join(facts['dtypes'])})"
    groups = ", ".join(f"{group} {count}" for group, count in facts["groups"].items())
    lines = [f"{printable(facts['name'])}: {facts['type']}, {scale}, {facts['layers']} layers"]
    lines += [f"layers: {groups}", f"size: {size}, {facts['form']}", f"model: {_model(facts)}"]
    for key in ("step", "epoch", "trigger", "recommended_strength"):
        if facts[key] is not None:
            lines.append(f"{key.replace('_', ' ')}: {printable(facts[key])}")
    lines += _trained_on(facts["dataset"])
    if facts["own_bases"] is not None:
        lines.append(f"singular vectors: {'stored' if facts['own_bases'] else 'not stored'}")
    inverted = facts["inverted_rows"]
    if inverted["layers"]:
        lines.append(f"inverted rows: in {inverted['layers']} layers, up to {inverted['largest_share']:.1%} of one")
    for one in facts.get("changes", ()):
        lines.append(
            f"change of {one['group']}: {one['change']:.1%} of its weights, {one['added']:.1%} added "
            f"({one['layers']} layers)"
        )
    return [*lines, *(f"note: {printable(notice)}" for notice in facts["notices"])]


def _ranks(ranks: list[int]) -> str:
    return str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"


def _trained_on(dataset: object) -> list[str]:
    """Return a line about the training set; nothing where a file says it in some other way."""
    match dataset:
        case {"clips": int(clips), "seconds": int() | float() as seconds}:
            return [f"trained on: {clips:,} clips, {seconds / 60:.1f} min"]
    return []


def _model(facts: dict[str, Any]) -> str:
    named, fits = facts["base_model"], facts["fits"]
    if named:
        known = canonical_model(named)
        return f"{printable(named)}{f' ({known})' if known not in (None, named) else ''}, as the file says"
    return f"{' or '.join(fits)}, by its shapes" if fits else "none of the catalogue, by its shapes"
