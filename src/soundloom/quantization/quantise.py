"""A model into fewer bits: choose them, write the bundle, measure what it cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soundloom.checkpoints.bundle import require_group
from soundloom.checkpoints.convert import require_empty
from soundloom.checkpoints.open import Checkpoint, open_checkpoint
from soundloom.checkpoints.packed import PackedTensor
from soundloom.checkpoints.save import save_bundle
from soundloom.config.catalogue import find_entry
from soundloom.errors import RequestError
from soundloom.pipeline.model import Model
from soundloom.quantization.policy import POLICIES, Bits, measure_sensitivity, mixed_bits, pack, uniform_bits
from soundloom.quantization.probe import Probe
from soundloom.quantization.report import Report, compare

PROBE_SECONDS = 3.0


def quantise_model(
    full: Checkpoint,
    folder: Path,
    policy: str,
    group: int,
    run: Callable[[Checkpoint], Model],
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Write `full` as a bundle of 4, 8 or mixed bits into `folder` and compare the two models.

    `run` brings a checkpoint onto an engine; `progress` hears of measured layers, done and in all. Raises RequestError.
    """
    require_group(group)
    require_empty(folder)
    if policy not in POLICIES:
        raise RequestError(f"weights cannot have {policy} bits", f"known are {', '.join(POLICIES)}")
    if any(isinstance(tensor, PackedTensor) for tensor in full.tensors.values()):
        raise RequestError(f"{full.name} is packed already, as {full.layout}", "quantise what it was made from")
    model = run(full)
    probe = Probe.record(model, PROBE_SECONDS)
    model.engine.free("dit")
    bits = _choose(model, probe, policy, group, run, progress)
    name = full.name if find_entry(full.name) else ""
    save_bundle(folder, model.config, pack(full.tensors, bits, group), full.text_encoder, name)
    return compare(model, run(open_checkpoint(folder)), probe)


def _choose(
    model: Model,
    probe: Probe,
    policy: str,
    group: int,
    run: Callable[[Checkpoint], Model],
    progress: Callable[[int, int], None] | None,
) -> Bits:
    tensors = model.checkpoint.tensors
    if policy != "mixed":
        return uniform_bits(tensors, int(policy), group)
    return mixed_bits(tensors, group, measure_sensitivity(model.checkpoint, probe, group, run, progress))
