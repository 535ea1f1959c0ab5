"""How many bits each layer of a transformer gets.

`4` and `8` pack all that the published bundles pack. `mixed` follows the damage that a layer does: in half precision
stay the few layers whose errors reach every block at once, that is the embedders of time and duration with the
modulation, and the projections into and out of the stack; 8 bits get the prompt's embedder, the local embeddings, the
first and the last block, and of the others those whose 4-bit weights change the velocity most for their size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from soundloom.checkpoints.compare import depth
from soundloom.checkpoints.formats.packed import pack_tensor
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.bundle import can_pack
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.trajectory import Trajectory

POLICIES = ("4", "8", "mixed")
Bits = dict[str, int]  # by name; a weight that is absent stays as it is

_HALF = ("to_timestep_embed.", "to_global_embed.", "transformer.global_cond_embedder.", "transformer.project_")
_EIGHT = ("to_cond_embed.", "to_local_embed.")
_SENSITIVE_SHARE = 0.25  # of the parameters of all layers that may have 4 bits, those that get 8


def uniform_bits(tensors: Mapping[str, LazyTensor], bits: int, group_size: int) -> Bits:
    """The same for every matrix of the transformer that divides into groups."""
    return {name: bits for name, tensor in tensors.items() if can_pack(name, tensor.shape, group_size)}


def mixed_bits(tensors: Mapping[str, LazyTensor], group_size: int, sensitivity: Mapping[str, float]) -> Bits:
    """4, 8 or no bits by the rules above; `sensitivity` has every layer of `candidates`."""
    bits = {name: 8 for name in uniform_bits(tensors, 8, group_size) if not _is_half(name)}
    return bits | bits_by_sensitivity(tensors, sensitivity)


def bits_by_sensitivity(tensors: Mapping[str, LazyTensor], sensitivity: Mapping[str, float]) -> Bits:
    """8 bits for a share of the layers, those that are most sensitive for their size, and 4 for the rest."""
    bits = dict.fromkeys(sensitivity, 4)
    sizes = {name: prod(tensors[name].shape) for name in sensitivity}
    left = _SENSITIVE_SHARE * sum(sizes.values())
    for name in sorted(sizes, key=lambda name: sensitivity[name] / sizes[name], reverse=True):
        if sizes[name] <= left:
            bits[name], left = 8, left - sizes[name]
    return bits


def candidates(tensors: Mapping[str, LazyTensor], group_size: int) -> list[str]:
    """The layers to which `mixed` may give 4 bits."""
    last = depth(name for name in tensors if name.startswith(DIT_PREFIX)) - 1
    edges = tuple(f"{DIT_PREFIX}transformer.layers.{layer}." for layer in (0, last))
    names = uniform_bits(tensors, 4, group_size)
    return [n for n in names if not _is_half(n) and not n.startswith(edges) and not any(part in n for part in _EIGHT)]


def _is_half(name: str) -> bool:
    return name.startswith(tuple(DIT_PREFIX + part for part in _HALF))


def measure_sensitivity(
    checkpoint: Checkpoint,
    probe: Trajectory,
    group_size: int,
    run: Callable[[Checkpoint], Model],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """How much the velocity changes, in energy, when one layer alone has 4 bits; the model runs for each layer."""
    tensors = checkpoint.tensors
    names, found = candidates(tensors, group_size), {}
    for done, name in enumerate(names, 1):
        other = run(replace(checkpoint, tensors={**tensors, name: pack_tensor(tensors[name], 4, group_size)}))
        found[name] = probe.error(probe.velocities(other.engine))
        other.engine.free("dit")
        if progress:
            progress(done, len(names))
    return found


def pack(tensors: Mapping[str, LazyTensor], bits: Bits, group_size: int) -> dict[str, LazyTensor]:
    """The same tensors, with those that `bits` names packed."""
    return {
        name: pack_tensor(tensor, bits[name], group_size) if name in bits else tensor
        for name, tensor in tensors.items()
    }
