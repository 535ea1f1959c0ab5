"""Adapted weights as matrices: the definition of what adapters do, which branches must equal.

Letters as in `lora.adapter`; D is W with a change added. The 2-D view of a convolution's weight is (out, in * kernel).
Source: stable-audio-3, its LoRA parametrizations (`full`, and `fade` of its later revision) and its MLX runtime
(`linear`, and sums).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soundloom.checkpoints.formats.tensors import Array
from soundloom.config.stable_audio.adapters import Combine, Mode
from soundloom.lora.adapter import ModuleAdapter

EPS = 1e-12  # added to a norm before dividing by it


@dataclass(frozen=True)
class AdapterPart:
    """An adapter of one layer at a strength."""

    adapter: ModuleAdapter
    strength: float = 1.0
    mode: Mode = "fade"


def adapted_weight(weight: Array, parts: Sequence[AdapterPart], combine: Combine = "chain") -> Array:
    """Return the weight that adapters make of `weight`, float32 and of its shape.

    `chain` applies them one after the other. `sum` adds the changes that each alone makes.
    """
    matrix = np.asarray(weight, np.float32).reshape(len(weight), -1)
    if combine == "sum":
        adapted = matrix + sum((apply(matrix, part) - matrix for part in parts), np.float32(0))
    else:
        adapted = matrix
        for part in parts:
            adapted = apply(adapted, part)
    return np.asarray(adapted, np.float32).reshape(weight.shape)


def apply(weight: Array, part: AdapterPart) -> Array:
    """Return W (out, in) changed by one adapter; at strength 0 it is W itself."""
    adapter, strength = part.adapter, np.float32(part.strength)
    if strength == 0:
        return weight
    if part.mode == "linear":
        return weight + strength * (_at_full_magnitudes(weight, adapter, 1.0) - weight)
    if part.mode == "full":
        return _at_full_magnitudes(weight, adapter, float(strength))
    rows = None if adapter.rows is None else faded(row_norms(weight), adapter.rows, float(strength))
    cols = None if adapter.cols is None else faded(column_norms(weight), adapter.cols, float(strength))
    return _normalized(weight, adapter, float(strength), rows, cols)


def faded(norms: Array, magnitudes: Array, strength: float) -> Array:
    """Return magnitudes between the norms of the incoming weight, at strength 0, and the trained ones, at 1."""
    return norms + np.asarray(strength, norms.dtype) * (magnitudes - norms)


def row_norms(weight: Array) -> Array:
    """Return the norms (out,) of the rows of W (out, in)."""
    return np.sqrt(np.einsum("ij,ij->i", weight, weight))


def column_norms(weight: Array) -> Array:
    """Return the norms (in,) of the columns of W (out, in)."""
    return np.sqrt(np.einsum("ij,ij->j", weight, weight))


def _at_full_magnitudes(weight: Array, adapter: ModuleAdapter, strength: float) -> Array:
    return _normalized(weight, adapter, strength, adapter.rows, adapter.cols)


def _normalized(
    weight: Array, adapter: ModuleAdapter, strength: float, rows: Array | None, cols: Array | None
) -> Array:
    """Add the change to W, then set the norms of rows, then those of columns, where they are given."""
    down, up = adapter.factors()
    changed: Array = weight + np.float32(strength * adapter.scale) * (up @ down)
    if rows is not None:
        changed = changed * (rows / (row_norms(changed) + EPS))[:, None]
    if cols is not None:
        changed = changed * (cols / (column_norms(changed) + EPS))
    return changed
