"""Choose the bits of each layer of a transformer.

`4` and `8` pack the layers that the published bundles pack. `mixed` keeps half precision in the few layers whose errors
reach every block at once: the embedders of time and duration, the modulation, and the projections into and out of the
stack. It gives 8 bits to the prompt's embedder, the local embeddings, the first and last block, and the layers whose
4-bit weights change the output most for their size; 4 bits to all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import TypeVar

from soundloom.checkpoints.compare import depth
from soundloom.checkpoints.formats.packed import pack_tensor
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.stable_audio.bundle import can_pack
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from soundloom.pipeline.progress import Progress, ProgressCallback

POLICIES = ("4", "8", "mixed")
Bits = dict[str, int]  # by tensor name; absent weights are not packed
AnyCheckpoint = TypeVar("AnyCheckpoint", Checkpoint, MusicGenCheckpoint)

_HALF = ("to_timestep_embed.", "to_global_embed.", "transformer.global_cond_embedder.", "transformer.project_")
_EIGHT = ("to_cond_embed.", "to_local_embed.")
_SENSITIVE_SHARE = 0.25  # of the parameters of `candidates`, those that get 8 bits


def uniform_bits(tensors: Mapping[str, LazyTensor], bits: int, group_size: int) -> Bits:
    """Assign `bits` to every matrix of the transformer whose inputs divide into groups."""
    return {name: bits for name, tensor in tensors.items() if can_pack(name, tensor.shape, group_size)}


def mixed_bits(tensors: Mapping[str, LazyTensor], group_size: int, sensitivity: Mapping[str, float]) -> Bits:
    """Assign bits by the `mixed` policy; `sensitivity` has every layer of `candidates`."""
    bits = {name: 8 for name in uniform_bits(tensors, 8, group_size) if not _is_half(name)}
    return bits | bits_by_sensitivity(tensors, sensitivity)


def bits_by_sensitivity(tensors: Mapping[str, LazyTensor], sensitivity: Mapping[str, float]) -> Bits:
    """Assign 8 bits to the layers most sensitive for their size, up to a share of the parameters, and 4 to the rest."""
    bits = dict.fromkeys(sensitivity, 4)
    sizes = {name: prod(tensors[name].shape) for name in sensitivity}
    left = _SENSITIVE_SHARE * sum(sizes.values())
    for name in sorted(sizes, key=lambda name: sensitivity[name] / sizes[name], reverse=True):
        if sizes[name] <= left:
            bits[name], left = 8, left - sizes[name]
    return bits


def candidates(tensors: Mapping[str, LazyTensor], group_size: int) -> list[str]:
    """Return the layers to which `mixed` may give 4 bits."""
    names = inner_layers(uniform_bits(tensors, 4, group_size), tensors, DIT_PREFIX)
    return [name for name in names if not _is_half(name) and not any(part in name for part in _EIGHT)]


def inner_layers(names: Iterable[str], tensors: Iterable[str], prefix: str) -> list[str]:
    """Return the names outside the first and last layer of the transformer under a prefix of the tensors' names."""
    last = depth(name.removeprefix(prefix) for name in tensors if name.startswith(prefix)) - 1
    edges = tuple(f"{prefix}transformer.layers.{layer}." for layer in (0, last))
    return [name for name in names if not name.startswith(edges)]


def _is_half(name: str) -> bool:
    return name.startswith(tuple(DIT_PREFIX + part for part in _HALF))


def measure_sensitivity(
    checkpoint: AnyCheckpoint,
    names: list[str],
    group_size: int,
    error: Callable[[AnyCheckpoint], float],
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Return the error of the checkpoint with each of the named layers alone packed in 4 bits."""
    sensitivity = {}
    for done, name in enumerate(names, 1):
        packed = pack_tensor(checkpoint.tensors[name], 4, group_size)
        sensitivity[name] = error(replace(checkpoint, tensors={**checkpoint.tensors, name: packed}))
        if progress:
            progress(Progress("measure", done, len(names)))
    return sensitivity


def pack(tensors: Mapping[str, LazyTensor], bits: Bits, group_size: int) -> dict[str, LazyTensor]:
    """Return the tensors, packed where `bits` names them."""
    return {
        name: pack_tensor(tensor, bits[name], group_size) if name in bits else tensor
        for name, tensor in tensors.items()
    }
