"""The factors of adapters on a device, shared by all sets of an engine that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from soundloom.lora.adapter import ModuleAdapter
from soundloom.lora.branches import Branches

Raw = TypeVar("Raw")


class FactorCache:
    """The factors of adapters as layers use them, so that a change of strength does not read them again."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, Any], tuple[ModuleAdapter, Any]] = {}

    def get(self, adapter: ModuleAdapter, kind: Any, make: Callable[[], Raw]) -> Raw:
        """Return what `make` made for this adapter and kind of layer before, or makes now."""
        key = id(adapter), kind
        if key not in self._found:
            self._found[key] = adapter, make()  # holds the adapter, whose id is not used again then
        made: Raw = self._found[key][1]
        return made

    def keep(self, sets: Iterable[Branches | None]) -> None:
        """Drop the adapters that none of these sets uses."""
        adapters = {id(low.adapter) for one in sets if one for layer in one.layers.values() for low in layer.lows}
        self._found = {key: value for key, value in self._found.items() if key[0] in adapters}
