"""What the readers of all forms hand over: the tensors of each layer, and what the file says about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import MismatchError, shown

BASES_HINT = "it serves adapters of the -xs types"
Layers = dict[str, dict[str, LazyTensor]]  # tensors by the layer's name in adapter files, then by kind


@dataclass(frozen=True)
class Parts:
    """The contents of an adapter file, before they are checked.

    `config` is the `lora_config`, or the same facts in its terms; None if the file has none. `scales` holds
    alpha / rank of layers for which the configuration does not decide it.
    """

    path: Path
    form: str
    layers: Layers
    config: Mapping[str, Any] | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


class NotAnAdapterError(MismatchError):
    """A file that is sound, but holds something else."""


def not_an_adapter(path: Path, what: str, hint: str = "") -> NotAnAdapterError:
    return NotAnAdapterError(f"{path} {what}", hint)


def mismatch(path: Path, what: str, hint: str = "") -> MismatchError:
    return MismatchError(f"{path} {what}", hint)


def some(names: Iterable[str], limit: int = 3) -> str:
    """List the first names for a message."""
    names = list(names)
    listed = ", ".join(shown(name) for name in names[:limit])
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"


def add(layers: Layers, path: Path, layer: str, kind: str, tensor: LazyTensor) -> None:
    """Add a tensor to its layer. Raises MismatchError if the file has it twice, under other names."""
    tensors = layers.setdefault(layer, {})
    if kind in tensors:
        both = f"{shown(tensors[kind].name)} and {shown(tensor.name)}"
        raise mismatch(path, f"holds {kind} of {shown(layer)} twice: {both}")

    tensors[kind] = tensor


def reshaped(tensor: LazyTensor, shape: tuple[int, ...]) -> LazyTensor:
    """Return the same values in another shape."""
    if tensor.shape == shape:
        return tensor
    return replace(tensor, shape=shape) if tensor.stored else tensor.derive(shape, lambda array: array.reshape(shape))
