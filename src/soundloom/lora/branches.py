"""What an engine computes beside a layer's weight W when adapters act, without ever forming the adapted weight.

For input x, a layer with adapters returns

    sum over terms of a * W (b * x)  +  up (down x)  +  bias,

where `*` multiplies elementwise and a or b may be absent. A chain of any adapters needs one term, whose a and b are the
products of what its adapters do to rows and columns; their low-rank parts are stacked into one pair of factors.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from soundloom.checkpoints.formats.tensors import Array
from soundloom.lora.adapter import ModuleAdapter


@dataclass(frozen=True, eq=False)
class LowRank:
    """A low-rank matrix: scale * row * (up down) * col, of an adapter's factors; row (out,) and col (in,) or None."""

    adapter: ModuleAdapter
    scale: float
    row: Array | None = None
    col: Array | None = None

    def scaled(self, scale: float, row: Array | None = None, col: Array | None = None) -> LowRank:
        """Return it multiplied by a number, and by vectors along its rows and columns."""
        return LowRank(self.adapter, self.scale * scale, times(self.row, row), times(self.col, col))

    def factors(self) -> tuple[Array, Array]:
        """Return (down (r, in), up (out, r)), float32, with all scales in them."""
        down, up = self.adapter.factors()
        up = up * np.float32(self.scale) if self.row is None else up * (self.scale * self.row)[:, None]
        return (down if self.col is None else down * self.col).astype(np.float32), up.astype(np.float32)


class Term(NamedTuple):
    """The weight with its rows multiplied by `row` (out,) and its columns by `col` (in,); None stands for ones."""

    row: Array | None = None
    col: Array | None = None

    def scaled(self, row: Array | None, col: Array | None) -> Term:
        """Return the term multiplied by vectors along its rows and columns."""
        return Term(times(self.row, row), times(self.col, col))


@dataclass(frozen=True, eq=False)
class LayerBranch:
    """The branch of one layer; the vectors of its terms are float32."""

    terms: tuple[Term, ...]
    lows: tuple[LowRank, ...]

    @property
    def rank(self) -> int:
        """The sum of the ranks, R."""
        return sum(low.adapter.rank for low in self.lows)

    @property
    def single(self) -> LowRank | None:
        """The low-rank part, if the branch is row * (W + scale up down) * col of one adapter; else None."""
        if len(self.terms) != 1 or len(self.lows) != 1:
            return None
        (term,), (low,) = self.terms, self.lows
        return low if low.row is term.row and low.col is term.col else None

    @property
    def is_finite(self) -> bool:
        vectors = [*(v for term in self.terms for v in term), *(v for low in self.lows for v in (low.row, low.col))]
        return all(np.isfinite(vector).all() for vector in vectors if vector is not None)

    def factors(self) -> tuple[Array, Array] | None:
        """Return (down (R, in), up (out, R)), float32, or None where no low-rank part is left."""
        if not self.lows:
            return None
        downs, ups = zip(*(low.factors() for low in self.lows), strict=True)
        return np.concatenate(downs), np.concatenate(ups, axis=1)

    @property
    def structure(self) -> Hashable:
        """What decides the operations: two branches of one structure differ in values only."""
        flags = tuple((term.row is not None, term.col is not None) for term in self.terms)
        return flags, self.rank, self.single is not None


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches of all layers that a set of adapters changes, by the layers' names in adapter files."""

    layers: Mapping[str, LayerBranch]

    @property
    def structure(self) -> Hashable:
        return tuple((name, layer.structure) for name, layer in self.layers.items())


def times(a: Array | None, b: Array | None) -> Array | None:
    """Return the product of two vectors, where None stands for ones."""
    if a is None or b is None:
        return b if a is None else a
    return a * b
