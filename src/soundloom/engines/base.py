"""The interface and helpers shared by the engines of both model families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.errors import EngineError

Component = TypeVar("Component", bound=str, contravariant=True)
_GATED = ".proj"  # a gated feed-forward layer calls parts of its projection, so hooks go on the layer


class BaseEngine(Protocol[Component]):
    """The networks of one checkpoint on one device, loaded on first use and released by `free`."""

    name: str
    device: str
    precision: str

    def describe(self) -> dict[str, str]:
        """Return the attention implementation, precisions and device in use, for people to read."""

    def load(self, component: Component) -> None:
        """Load a component now instead of on first use."""

    def free(self, *components: Component) -> None:
        """Release the memory of components."""

    def weight_bytes(self, component: Component) -> int:
        """Return the bytes of a component's weights in memory; packed weights count as packed."""

    def reset_peak(self) -> None:
        """Reset `peak_memory`."""

    def peak_memory(self) -> int | None:
        """Return the peak device memory in bytes since `reset_peak`, None on CPUs."""


@dataclass(frozen=True)
class ComponentSource:
    """A component's configuration, its tensors by module name, and its label in messages."""

    config: Any  # DiTConfig, ConditioningConfig, SAMEConfig, T5GemmaConfig or those of MusicGen
    tensors: Tensors
    label: str


def memory_error(error: RuntimeError, signs: Sequence[str]) -> EngineError | None:
    """Return the EngineError for an out-of-memory error, recognized by any of `signs`; None for other errors."""
    reason = str(error).partition("\n")[0]
    if not any(sign in reason for sign in signs):
        return None
    return EngineError(f"not enough memory: {reason}", "generate shorter or fewer clips at once, or use another device")


def calling_module(layer: str) -> str:
    """Return the path of the module that is called with a linear layer's input: the layer, or its gated wrapper."""
    return layer.removesuffix(_GATED)
