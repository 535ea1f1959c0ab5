"""Compute adapters beside the weights of layers: see `lora.branches`.

A set of adapters is loaded into a slot, whose tensors stay where they are when a set of the same structure replaces it:
captured CUDA graphs read them at these addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.lora.branches import Branches, LayerBranch
from soundloom.lora.modules import CONDITIONER, TRANSFORMER

Product = Callable[[Tensor], Tensor]
PREFIXES = {"dit": TRANSFORMER, "conditioner": CONDITIONER}  # of a component's layers in adapter files
_RANK_MULTIPLE = 8  # matmuls of other ranks are slower; zeros fill the rest


class Branch(Protocol):
    """Computes a layer's output with adapters; layers that can be adapted hold one, or None."""

    def __call__(self, x: Tensor, product: Product) -> Tensor:
        """Return the output for x (…, in) without the bias; `product` multiplies by the layer's weight."""
        ...


@dataclass(frozen=True, eq=False)
class LowRankBranch:
    """The branch of one layer on its device. `down` (R, in) and `up` (out, R) are None without a low-rank part."""

    terms: tuple[tuple[Tensor | None, Tensor | None], ...]
    down: Tensor | None
    up: Tensor | None

    @classmethod
    def of(cls, branch: LayerBranch, device: torch.device, dtype: torch.dtype) -> LowRankBranch:
        """Copy a branch to a device; its factors become `dtype`."""

        def vector(values: np.ndarray | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(values).to(device)

        terms = tuple((vector(row), vector(col)) for row, col in branch.terms)
        factors = branch.factors()
        if factors is None:
            return cls(terms, None, None)
        padding = -branch.rank % _RANK_MULTIPLE
        down, up = np.pad(factors[0], ((0, padding), (0, 0))), np.pad(factors[1], ((0, 0), (0, padding)))
        return cls(terms, *(torch.from_numpy(factor).to(device, dtype) for factor in (down, up)))

    def __call__(self, x: Tensor, product: Product) -> Tensor:
        y: Tensor | None = None
        for row, col in self.terms:
            part = product(x if col is None else x * col)
            part = part if row is None else part.mul_(row)
            y = part if y is None else y.add_(part)
        assert y is not None
        if self.down is not None and self.up is not None:
            h = x.to(self.down.dtype) @ self.down.t()
            y.view(-1, y.shape[-1]).addmm_(h.view(-1, h.shape[-1]).to(y.dtype), self.up.t().to(y.dtype))
        return y

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, in a fixed order."""
        yield from (tensor for term in self.terms for tensor in (*term,) if tensor is not None)
        yield from (tensor for tensor in (self.down, self.up) if tensor is not None)


class DeviceBranch(Protocol):
    """What a layer's `make_branch` returns: a branch in the form that the layer computes with."""

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, in a fixed order."""
        ...


class BranchSlots:
    """The sets of adapters of an engine, on its device, and which of them its networks use."""

    def __init__(self) -> None:
        self._sets: list[Branches | None] = []
        self._built: dict[tuple[str, int], dict[str, DeviceBranch]] = {}  # by component and slot
        self._installed: dict[str, list[Any]] = {}  # the layers of a component that hold a branch
        self._current: int | None = None

    def load(self, sets: Sequence[Branches | None], modules: Mapping[Any, nn.Module]) -> bool:
        """Replace all sets; return whether every tensor stayed where it was."""
        self.use(None, modules)
        stays = [_structure(new) for new in sets] == [_structure(old) for old in self._sets]
        self._sets = list(sets)
        if not stays:
            self._built.clear()
            return False
        for (component, slot), built in self._built.items():
            if component in modules:
                for old, new in zip(built.values(), self._build(component, slot, modules[component]), strict=True):
                    for target, value in zip(old.tensors(), new[1].tensors(), strict=True):
                        target.copy_(value)
        for key in [key for key in self._built if key[0] not in modules]:
            del self._built[key]
        return True

    def use(self, slot: int | None, modules: Mapping[Any, nn.Module]) -> None:
        """Let the networks compute with a set, or without adapters if None."""
        if slot == self._current:
            return
        self._current = slot
        for component, module in modules.items():
            self.install(component, module)

    def install(self, component: str, module: nn.Module) -> None:
        """Set the branches of a network, which may have just been loaded."""
        for held in self._installed.pop(component, ()):
            held.branch = None
        slot = self._current
        if slot is None or component not in PREFIXES or self._sets[slot] is None:
            return
        if (component, slot) not in self._built:
            self._built[component, slot] = dict(self._build(component, slot, module))
        self._installed[component] = []
        for path, branch in self._built[component, slot].items():
            layer: Any = module.get_submodule(path)
            layer.branch = branch
            self._installed[component].append(layer)

    def forget(self, component: str) -> None:
        """Drop the branches of a network that leaves memory."""
        self._installed.pop(component, None)
        for key in [key for key in self._built if key[0] == component]:
            del self._built[key]

    def _build(self, component: str, slot: int, module: nn.Module) -> Iterator[tuple[str, DeviceBranch]]:
        branches, prefix = self._sets[slot], PREFIXES[component]
        for name, branch in branches.layers.items() if branches else ():
            if name.startswith(prefix):
                path = name.removeprefix(prefix)
                layer: Any = module.get_submodule(path)
                yield path, layer.make_branch(branch)


def _structure(branches: Branches | None) -> Any:
    return None if branches is None else branches.structure
