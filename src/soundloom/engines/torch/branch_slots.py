"""The sets of adapters of an engine: see `branches`.

A set is loaded into a slot, whose tensors stay where they are when a set of the same structure replaces it: captured
CUDA graphs read them at these addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.branches import DeviceBranch
from soundloom.lora.branches import Branches
from soundloom.lora.modules import CONDITIONER, TRANSFORMER

PREFIXES = {"dit": TRANSFORMER, "conditioner": CONDITIONER}  # of a component's layers in adapter files


class BranchSlots:
    """The sets of adapters of an engine, on its device, and which of them its networks use."""

    def __init__(self) -> None:
        self._sets: list[Branches | None] = []
        self._built: dict[tuple[str, int], dict[str, DeviceBranch]] = {}  # by component and slot
        self._installed: dict[str, list[Any]] = {}  # the layers of a component that hold a branch
        self._current: int | None = None
        self._factors = FactorCache()

    def load(self, sets: Sequence[Branches | None], modules: Mapping[Any, nn.Module]) -> bool:
        """Replace all sets; return whether every tensor stayed where it was."""
        self.use(None, modules)
        stays = [_structure(new) for new in sets] == [_structure(old) for old in self._sets]
        kept = {slot for slot, new in enumerate(sets) if slot < len(self._sets) and new is self._sets[slot]}
        self._sets = list(sets)
        self._factors.keep(sets)
        if not stays:
            self._built.clear()
            return False
        for (component, slot), built in self._built.items():
            if slot in kept:
                continue
            for path, branch in self._build(component, slot, modules[component]):
                if not built[path].update(branch):
                    built[path] = branch
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
                yield path, layer.make_branch(branch, self._factors)


def _structure(branches: Branches | None) -> Any:
    return None if branches is None else branches.structure
