"""What an engine computes beside a layer's weight W when adapters act, without ever forming the adapted weight.

For input x, a layer with adapters returns

    sum over terms of a * W (b * x)  +  up (down x)  +  bias,

where `*` multiplies elementwise and a or b may be absent. A chain of any adapters needs one term, whose a and b are the
products of what its adapters do to rows and columns; their low-rank parts are stacked into one pair of factors.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from soundloom.checkpoints.formats.tensors import Array


@dataclass(frozen=True, eq=False)
class LayerBranch:
    """The branch of one layer, float32. `terms` are pairs (a (out,) or None, b (in,) or None).

    `down` (R, in) and `up` (out, R) are None where no low-rank part remains; R is the sum of the ranks.
    """

    terms: tuple[tuple[Array | None, Array | None], ...]
    down: Array | None
    up: Array | None

    @property
    def structure(self) -> Hashable:
        """What decides the operations: two branches of one structure differ in values only."""
        return tuple((a is not None, b is not None) for a, b in self.terms), None if self.up is None else self.up.shape


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches of all layers that a set of adapters changes, by the layers' names in adapter files."""

    layers: Mapping[str, LayerBranch]

    @property
    def structure(self) -> Hashable:
        return tuple((name, layer.structure) for name, layer in self.layers.items())
