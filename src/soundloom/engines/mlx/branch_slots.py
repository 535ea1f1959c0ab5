"""The sets of adapters of an engine: see `branches`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx import nn

from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.mlx.branches import LowRankBranch
from soundloom.engines.mlx.paths import find
from soundloom.lora.branches import Branches
from soundloom.lora.modules import CONDITIONER, TRANSFORMER

PREFIXES = {"dit": TRANSFORMER, "conditioner": CONDITIONER}  # of a component's layers in adapter files


class BranchSlots:
    """The sets of adapters of an engine, on its device, and which of them its networks use."""

    def __init__(self) -> None:
        self._sets: list[Branches | None] = []
        self._built: dict[tuple[str, int], dict[str, LowRankBranch]] = {}  # by component and slot
        self._installed: dict[str, list[Any]] = {}  # the layers of a component that hold a branch
        self._current: int | None = None
        self._factors = FactorCache()

    def load(self, sets: Sequence[Branches | None], modules: Mapping[Any, nn.Module]) -> None:
        """Replace all sets; none is in use then."""
        self.use(None, modules)
        kept = {slot for slot, new in enumerate(sets) if slot < len(self._sets) and new is self._sets[slot]}
        self._sets = list(sets)
        self._factors.keep(sets)
        self._built = {key: built for key, built in self._built.items() if key[1] in kept}

    def use(self, slot: int | None, modules: Mapping[Any, nn.Module]) -> None:
        """Let the networks compute with a set, or without adapters if None."""
        if slot is not None and not 0 <= slot < len(self._sets):
            raise IndexError(f"no slot {slot} among {len(self._sets)}")
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
            self._built[component, slot] = self._build(component, slot, module)
        self._installed[component] = []
        for path, branch in self._built[component, slot].items():
            layer = find(module, path.split("."))
            layer.branch = branch
            self._installed[component].append(layer)

    def forget(self, component: str) -> None:
        """Drop the branches of a network that leaves memory."""
        self._installed.pop(component, None)
        for key in [key for key in self._built if key[0] == component]:
            del self._built[key]

    def _build(self, component: str, slot: int, module: nn.Module) -> dict[str, LowRankBranch]:
        branches, prefix = self._sets[slot], PREFIXES[component]
        built: dict[str, LowRankBranch] = {}
        for name, branch in branches.layers.items() if branches else ():
            if name.startswith(prefix):
                path = name.removeprefix(prefix)
                built[path] = find(module, path.split(".")).make_branch(branch, self._factors)
        mx.eval([array for branch in built.values() for array in branch.arrays()])
        return built
