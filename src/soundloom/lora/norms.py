"""Norms of the rows and columns of adapted weights, without the adapted weights.

For a weight W that row scales and low-rank changes were applied to, the squared norm of a row is

    a² |W|² + 2 a sum_j c_j <W, D_j> + sum_jk c_j c_k <D_j, D_k>,

where D_j are the changes, and a and c_j one number per row. What depends on W and the factors alone is computed once:
a change of strength then costs nothing. Columns are the mirror image. Where scales of both rows and columns were
applied, or a weight is a sum of several terms, the weight is read again in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, evict_tensor
from soundloom.lora.adapter import ModuleAdapter
from soundloom.lora.branches import LowRank, Term

BLOCK_ROWS = 256
_LANES = 64  # values that are summed in float32 before float64 takes over


class LayerNorms:
    """The norms of one layer's weight, and inner products with the changes of adapters."""

    def __init__(self, weight: LazyTensor) -> None:
        self.weight = weight
        self._squares: dict[bool, Array] = {}  # by whether of rows; float64
        self._with_weight: dict[tuple[bool, int], Array] = {}
        self._pairs: dict[tuple[bool, int, int], Array] = {}
        self._known: dict[int, ModuleAdapter] = {}  # by id, which is not used again while they are here

    def forget(self, adapter: ModuleAdapter) -> None:
        """Drop what belongs to an adapter."""
        self._known.pop(id(adapter), None)
        self._with_weight = {key: value for key, value in self._with_weight.items() if key[1] != id(adapter)}
        self._pairs = {key: value for key, value in self._pairs.items() if id(adapter) not in key[1:]}

    def prepare(self, adapters: Sequence[ModuleAdapter], of_rows: bool, of_cols: bool) -> None:
        """Read the weight once for everything that norms of chains of these adapters need."""
        self._known |= {id(one): one for one in adapters}
        sides = [side for side, wanted in ((True, of_rows), (False, of_cols)) if wanted]
        new = {side: [one for one in adapters if (side, id(one)) not in self._with_weight] for side in sides}
        if not any(side not in self._squares or new[side] for side in sides):
            return
        factors = {id(one): one.factors() for side in sides for one in new[side]}
        sums = {side: np.zeros(self._length(side)) for side in sides if side not in self._squares}
        inner = {(side, id(one)): np.zeros(self._length(side)) for side in sides for one in new[side]}
        products = {id(one): np.zeros_like(factors[id(one)][0]) for one in new.get(False, ())}
        for rows, block in self.blocks():
            for side, total in sums.items():
                if side:
                    total[rows] = _sum_squares(block)
                else:
                    total += np.einsum("ij,ij->j", block, block)
            for one in new.get(True, ()):
                down, up = factors[id(one)]
                inner[True, id(one)][rows] = np.einsum("ir,ir->i", block @ down.T, up[rows])
            for one in new.get(False, ()):
                products[id(one)] += factors[id(one)][1][rows].T @ block
        for one in new.get(False, ()):
            inner[False, id(one)] += np.einsum("rj,rj->j", products[id(one)], factors[id(one)][0])
        self._squares |= sums
        self._with_weight |= inner

    def of_chain(self, scale: Array | None, lows: Sequence[LowRank], of_rows: bool) -> Array:
        """Return the norms of rows, or columns, of a weight that only has scales along that axis, float64."""
        factor = np.float64(1) if scale is None else scale.astype(np.float64)
        squares = factor**2 * self._squares[of_rows]
        coefficients = [_coefficient(low, of_rows) for low in lows]
        for low, c in zip(lows, coefficients, strict=True):
            squares = squares + 2 * factor * c * self._with_weight[of_rows, id(low.adapter)]
        for j, one in enumerate(lows):
            for k, other in enumerate(lows[: j + 1]):
                both = coefficients[j] * coefficients[k] * self._pair(one.adapter, other.adapter, of_rows)
                squares = squares + (both if j == k else 2 * both)
        return np.sqrt(np.maximum(squares, 0))

    def streamed(self, terms: Sequence[Term], lows: Sequence[LowRank]) -> tuple[Array, Array]:
        """Return the norms of the rows and of the columns of any adapted weight, float64, reading W in blocks."""
        factors = [low.factors() for low in lows]
        rows_squared, cols_squared = np.zeros(self._length(True)), np.zeros(self._length(False))
        for rows, block in self.blocks():
            adapted = np.zeros_like(block)
            for row, col in terms:
                adapted += _scaled(block, None if row is None else row[rows], col)
            for down, up in factors:
                adapted += up[rows] @ down
            rows_squared[rows] = _sum_squares(adapted)
            cols_squared += np.einsum("ij,ij->j", adapted, adapted)
        return np.sqrt(rows_squared), np.sqrt(cols_squared)

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield slices of rows and the weight in them, (rows, in), float32; then drop the weight's pages."""
        stored = self.weight.numpy()
        stored = stored.reshape(len(stored), -1)
        for start in range(0, len(stored), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            yield rows, np.asarray(stored[rows], np.float32)
        evict_tensor(self.weight)

    def _length(self, of_rows: bool) -> int:
        shape = self.weight.shape
        return shape[0] if of_rows else int(np.prod(shape[1:]))

    def _pair(self, one: ModuleAdapter, other: ModuleAdapter, of_rows: bool) -> Array:
        """Return the inner products of the rows, or columns, of two adapters' changes."""
        key = (of_rows, id(one), id(other))
        if key not in self._pairs:
            (down, up), (other_down, other_up) = one.factors(), other.factors()
            if of_rows:
                self._pairs[key] = np.einsum("ir,ir->i", up @ (down @ other_down.T), other_up).astype(np.float64)
            else:
                self._pairs[key] = np.einsum("rj,rj->j", (other_up.T @ up) @ down, other_down).astype(np.float64)
        return self._pairs[key]


def _coefficient(low: LowRank, of_rows: bool) -> Array | np.float64:
    vector, other = (low.row, low.col) if of_rows else (low.col, low.row)
    assert other is None
    return np.float64(low.scale) if vector is None else low.scale * vector.astype(np.float64)


def _scaled(block: Array, a: Array | None, b: Array | None) -> Array:
    if a is not None:
        block = block * a[:, None]
    return block if b is None else block * b


def _sum_squares(block: Array) -> Array:
    """Return the sums of the squares of rows, float64."""
    width = block.shape[1]
    if width % _LANES:
        return np.einsum("ij,ij->i", block, block, dtype=np.float64)
    parts = block.reshape(len(block), -1, _LANES)
    return np.asarray(np.einsum("ikj,ikj->ik", parts, parts).sum(axis=1, dtype=np.float64))
