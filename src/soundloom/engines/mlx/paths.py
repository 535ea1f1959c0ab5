"""Parts of modules by their dotted names."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx import nn


def assign(module: nn.Module, name: str, value: mx.array | nn.Module) -> None:
    """Set a parameter or a layer by its dotted name."""
    *path, leaf = name.split(".")
    place = find(module, path)
    place[int(leaf) if isinstance(place, list) else leaf] = value


def find(module: nn.Module, path: list[str]) -> Any:
    """Return the module, dict, list or array at a path; lists are indexed by number."""
    place: Any = module
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place[part]
    return place
