"""`soundloom lora extract`: extract an adapter from a tuned model and its base."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.cli.adapters import layer_progress, new_file, residual_facts, residual_lines, save
from soundloom.cli.loading import open_named
from soundloom.cli.options.adapters import AdapterOutputOptions
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import LicenseOptions
from soundloom.cli.options.shared import out_flag, rank_flag, type_flag
from soundloom.cli.terminal.results import print_results
from soundloom.lora.guardrails import base_signature
from soundloom.lora.modules import base_weights, weight_key
from soundloom.lora.operations.extract import DEFAULT_RANK, extract

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options(LicenseOptions, AdapterOutputOptions):
    """Extract an adapter that turns one model into another, and report what it misses in each group of layers.

    The type lora approximates the difference of the weights. dora-rows also sets the norms of their rows.
    """

    tuned: str = flag(metavar="TUNED", help="the model to imitate: a name, a folder, or a file")
    base: str = flag(metavar="BASE", help="the model that it was tuned from")
    out: str = out_flag(required=True, help="a .safetensors file")
    rank: int = rank_flag(default=DEFAULT_RANK, help="rank of the adapter")
    type: Literal["lora", "dora-rows"] = type_flag(choices=("lora", "dora-rows"), help="type of the adapter")


def run(options: Options) -> None:
    path = new_file(options.out, options.overwrite)
    tuned, base = (open_named(name, accept_license=options.accept_license) for name in (options.tuned, options.base))
    weights = base_weights(base)
    with layer_progress("layers", len(weights), quiet=options.quiet) as progress:
        adapter, residuals = extract(
            base_weights(tuned),
            weights,
            options.rank,
            options.type,
            name=path.stem,
            config={"base_model": base.name, "base_signature": base_signature(weights)},
            provenance={"tuned": tuned.fingerprint, "base": base.fingerprint},
            progress=progress,
        )
    _warn_of_others(tuned, base)
    save(path, adapter, dtype=options.stored_dtype)
    if options.json:
        facts = {"file": str(path), "type": adapter.type, "rank": adapter.rank}
        print_results(facts | {"groups": residual_facts(residuals)})
    else:
        print_results([f"{path}: {adapter.type}, rank {adapter.rank}", *residual_lines(residuals)])


def _warn_of_others(tuned: Checkpoint, base: Checkpoint) -> None:
    """Log how many tensors differ that no adapter can change, such as biases and norms."""
    layers = {weight_key(name) for name in base_weights(base)}
    others = [name for name in base.tensors if name not in layers and name in tuned.tensors]
    differ = [name for name in others if not _same(tuned, base, name)]
    if differ:
        log.warning("%d tensors differ that no adapter changes, the first %s", len(differ), differ[0])


def _same(tuned: Checkpoint, base: Checkpoint, name: str) -> bool:
    one, other = tuned.tensors[name].numpy(), base.tensors[name].numpy()
    return one.shape == other.shape and bool((one == other).all())
