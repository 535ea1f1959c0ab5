"""Adapters of single layers in training: the eight types, computed beside frozen weights.

A layer computes rows * (W (cols * x) + up (down (cols * x))), where `rows` and `cols` are the trained norms divided by
those of W + up @ down. Gradients flow through these norms. Letters as in `lora.adapter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.engines.torch.branches import Product
from soundloom.lora.adapter import BORA_TYPES, COLS_TYPES, ROWS_TYPES, ModuleAdapter, is_xs, kinds_of
from soundloom.lora.arithmetic import EPS
from soundloom.training.lora.norms import (
    blocks,
    column_product,
    root,
    row_product,
    square_sums,
    weighted_square_sums,
)

BASES = ("U", "V")


class TrainableLayer(nn.Module):
    """The adapter of one layer; a `Branch`. Its state holds the tensors of the adapter's kinds, and U and V.

    `weight` is the layer's frozen weight as a matrix (out, in). Dropout multiplies inputs of A by `mask` (in,), in
    training.
    """

    lora_A: Tensor  # noqa: N815
    lora_B: Tensor  # noqa: N815
    M_xs: Tensor
    U: Tensor
    V: Tensor
    magnitude: Tensor
    magnitude_r: Tensor
    magnitude_c: Tensor
    row_squares: Tensor
    col_squares: Tensor
    weight_v: Tensor | None  # W V (out, r)
    weight_u: Tensor | None  # Uᵀ W (r, in)

    def __init__(self, adapter: ModuleAdapter, weight: Tensor) -> None:
        super().__init__()
        self.name, self.kind, self.rank, self.scale = adapter.name, adapter.type, adapter.rank, adapter.scale
        self.weight = weight.detach()
        self.mask: Tensor | None = None
        for kind in kinds_of(adapter.type):
            self.register_parameter(kind, nn.Parameter(self._tensor(adapter, kind)))
        for kind in BASES if is_xs(adapter.type) else ():
            self.register_buffer(kind, self._tensor(adapter, kind))
        with torch.no_grad():
            rows, cols = square_sums(self.weight)
        self.register_buffer("row_squares", rows, persistent=False)
        self.register_buffer("col_squares", cols, persistent=False)
        with torch.no_grad():
            weight_v, weight_u = self._base_products()
        self.register_buffer("weight_v", weight_v, persistent=False)
        self.register_buffer("weight_u", weight_u, persistent=False)

    def _tensor(self, adapter: ModuleAdapter, kind: str) -> Tensor:
        return torch.tensor(adapter.array(kind), device=self.weight.device)

    def forward(self, x: Tensor, product: Product) -> Tensor:
        down, up = self.factors()
        mask = self.mask if self.training else None
        if mask is not None:
            down = down * mask
        inputs, weight = x.flatten(0, -2), self.weight
        rows: Tensor | None
        if self.kind == "dora-rows":
            # A passes through the weight as further rows of the input, so that the weight is read once.
            inputs = torch.cat([inputs.to(weight.dtype), down.to(weight.dtype)])
            y, crossed = product(inputs).split([len(inputs) - self.rank, self.rank])
            inputs = inputs[: -self.rank]
            with _exact(x):
                rows = self.magnitude / (self.row_norms(down, up, crossed.T) + EPS)
        else:
            with _exact(x):
                rows, cols = self.scales(down, up, mask is not None)
            inputs = (inputs if cols is None else inputs * cols).to(weight.dtype)
            y = product(inputs)
        y = y + F.linear(F.linear(inputs, down.to(weight.dtype)), up.to(weight.dtype))
        if rows is not None:
            # What follows on a CPU computes in float32; on a GPU, attention would be slower in it.
            y = y * rows if y.is_cpu else (y * rows).to(y.dtype)
        return y.view(*x.shape[:-1], -1)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return (down (r, in), up (out, r)), whose product is the change of the weight."""
        if is_xs(self.kind):
            down, up = self.M_xs @ self.V.T, self.U
        else:
            down, up = self.lora_A, self.lora_B
        return down, up * self.scale

    def _base_products(self) -> tuple[Tensor | None, Tensor | None]:
        """Return W V and Uᵀ W of the -xs types, which do not change, so that their norms need no product with W."""
        if not is_xs(self.kind):
            return None, None
        rows, cols = [], torch.zeros_like(self.V.T)
        for chosen, block in blocks(self.weight, self.V.dtype):
            rows.append(block @ self.V)
            cols += self.U[chosen].T @ block
        return torch.cat(rows), cols

    def scales(self, down: Tensor, up: Tensor, drops: bool = False) -> tuple[Tensor | None, Tensor | None]:
        """Return what rows (out,) and columns (in,) of the changed weight are multiplied by; None for nothing.

        With dropout, `down` is not that of `factors`.
        """
        known_rows = None if self.weight_v is None or drops else self.weight_v @ self.M_xs.T
        if self.kind in ROWS_TYPES:
            return self.magnitude / (self.row_norms(down, up, known_rows) + EPS), None
        if self.kind in COLS_TYPES:
            return None, self.magnitude / (self.column_norms(down, up) + EPS)
        if self.kind in BORA_TYPES:
            rows = self.magnitude_r / (self.row_norms(down, up, known_rows) + EPS)
            return rows, self.magnitude_c / (self.column_norms(down, up, rows) + EPS)
        return None, None

    def row_norms(self, down: Tensor, up: Tensor, product: Tensor | None = None) -> Tensor:
        """Return the norms (out,) of the rows of W + up @ down; `product` is W downᵀ (out, r) if it is known."""
        product = row_product(down, self.weight).T if product is None else product
        return root(self.row_squares + 2 * (product * up).sum(1) + (up @ (down @ down.T) * up).sum(1))

    def column_norms(self, down: Tensor, up: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the norms (in,) of the columns of W + up @ down, its rows multiplied by `rows` first."""
        if rows is None:
            squares, weighted = self.col_squares, up
        else:
            weights = rows.square()
            squares, weighted = weighted_square_sums(weights, self.weight), up * weights[:, None]
        known = self.weight_u if rows is None else None
        product = column_product(weighted.T, self.weight) if known is None else known * self.scale
        return root(squares + 2 * (product * down).sum(0) + ((weighted.T @ up) @ down * down).sum(0))

    @torch.no_grad()
    def change(self) -> tuple[float, float]:
        """Return the squared Frobenius norms of the low-rank change and of the weight."""
        down, up = self.factors()
        return float(((up.T @ up) * (down @ down.T)).sum()), float(self.row_squares.sum())

    def adapter(self, others: Mapping[str, Tensor] | None = None) -> ModuleAdapter:
        """Return a copy in memory; `others` replace tensors by kind."""
        state = {**self.state_dict(), **(others or {})}
        tensors = {kind: value.detach().cpu().float().numpy().copy() for kind, value in state.items()}
        lazy = {kind: from_array(kind, array) for kind, array in tensors.items()}
        return ModuleAdapter(self.name, self.kind, self.rank, self.scale, lazy)


def _exact(x: Tensor) -> AbstractContextManager[Any]:
    """Compute norms in float32 also under autocast."""
    return torch.autocast(x.device.type, enabled=False)


class TrainableAdapter(nn.Module):
    """The adapters of some layers, by their names in adapter files; the only parameters that training changes."""

    def __init__(self, layers: Mapping[str, TrainableLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name.replace(".", "/"): layer for name, layer in layers.items()})

    @property
    def all(self) -> dict[str, TrainableLayer]:
        """The layers by name."""
        found = {}
        for layer in self.layers.values():
            assert isinstance(layer, TrainableLayer)
            found[layer.name] = layer
        return found

    def modules_in_memory(self, others: Mapping[str, Tensor] | None = None) -> dict[str, ModuleAdapter]:
        """Return copies of all layers; `others` replace parameters by their names in this module."""
        replaced: dict[str, dict[str, Tensor]] = {}
        for path, value in (others or {}).items():
            layer, _, kind = path.removeprefix("layers.").rpartition(".")
            replaced.setdefault(layer.replace("/", "."), {})[kind] = value
        return {name: layer.adapter(replaced.get(name)) for name, layer in self.all.items()}
