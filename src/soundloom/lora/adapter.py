"""An adapter in memory: low-rank changes of some layers of a Stable Audio model, whatever file they came from.

Letters: W (out, in) is the weight of a layer, r the rank; A (r, in), B (out, r); U (out, r), M (r, r), V (in, r).
The change of W is scale * B A, or scale * U M Vᵀ for the -xs types; the dora and bora types then set the norms of rows,
columns, or both. Source: stable-audio-3, its LoRA parametrizations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor

AdapterType = Literal["lora", "dora-rows", "dora-cols", "bora", "lora-xs", "dora-rows-xs", "dora-cols-xs", "bora-xs"]
TYPES: tuple[AdapterType, ...] = get_args(AdapterType)

TRANSFORMER, CONDITIONER = "model.", "conditioners."  # the names of layers start with one of these

ROWS_TYPES = ("dora-rows", "dora-rows-xs")
COLS_TYPES = ("dora-cols", "dora-cols-xs")
BORA_TYPES = ("bora", "bora-xs")


def is_xs(adapter_type: str) -> bool:
    """Whether a type trains an r by r core between fixed singular vectors."""
    return adapter_type.endswith("-xs")


def kinds_of(adapter_type: str) -> tuple[str, ...]:
    """Return the kinds of tensors that each module of an adapter of this type has, in the order of files."""
    factors = ("M_xs",) if is_xs(adapter_type) else ("lora_A", "lora_B")
    if adapter_type in BORA_TYPES:
        return (*factors, "magnitude_r", "magnitude_c")
    return factors if adapter_type in ("lora", "lora-xs") else (*factors, "magnitude")


@dataclass(frozen=True)
class ModuleAdapter:
    """The part of an adapter that changes one layer.

    `name` is the layer's name in adapter files: `model.` and its name in the transformer, or `conditioners.` and its
    name in the conditioner. `scale` is alpha / rank. `tensors` holds the kinds of `kinds_of(type)`; magnitudes have one
    axis. The -xs types may also hold `U` and `V`, and without them need bases (see `lora.bases`). dora-rows may
    hold `baked_vnorm_row`.
    """

    name: str
    type: AdapterType
    rank: int
    scale: float
    tensors: Mapping[str, LazyTensor]

    def array(self, kind: str) -> Array:
        """Return a tensor as float32; a view of the file where that is its dtype."""
        return np.asarray(self.tensors[kind].numpy(), np.float32)

    @property
    def has_factors(self) -> bool:
        """Whether the change of the weight can be computed: false for -xs types without bases."""
        return not is_xs(self.type) or {"U", "V"} <= self.tensors.keys()

    def factors(self) -> tuple[Array, Array]:
        """Return (down (r, in), up (out, r)), float32: the change of the weight is scale * up @ down."""
        if not is_xs(self.type):
            return self.array("lora_A"), self.array("lora_B")
        return self.array("M_xs") @ self.array("V").T, self.array("U")

    @property
    def rows(self) -> Array | None:
        """The norms of the rows (out,) that the adapter sets, None if it sets none."""
        kind = "magnitude" if self.type in ROWS_TYPES else "magnitude_r" if self.type in BORA_TYPES else None
        return None if kind is None else self.array(kind)

    @property
    def cols(self) -> Array | None:
        """The norms of the columns (in,) that the adapter sets, None if it sets none."""
        kind = "magnitude" if self.type in COLS_TYPES else "magnitude_c" if self.type in BORA_TYPES else None
        return None if kind is None else self.array(kind)

    def with_tensors(self, **tensors: LazyTensor) -> ModuleAdapter:
        """Return the adapter with some tensors added or replaced."""
        return replace(self, tensors={**self.tensors, **tensors})


@dataclass(frozen=True)
class Adapter:
    """An adapter as its file describes it; `modules` by name, in the order of the file.

    `rank` and `alpha` are those of the configuration; modules may differ. `config` is the complete `lora_config` and
    `metadata` all other metadata of the file, both kept when the adapter is written again. `sha256` identifies what it
    sounds like, whatever the file (see `lora.files.identity`). `form` names the kind of file: native, ckpt, peft,
    diffusers, kohya, gguf. `hints` are advice for use, such as `trigger` and `recommended_strength`; nothing applies
    them. `notices` say what was unusual about the file.
    """

    name: str
    type: AdapterType
    rank: int
    alpha: float
    modules: Mapping[str, ModuleAdapter]
    config: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    sha256: str = ""
    form: str = "native"
    hints: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def include(self) -> tuple[str, ...]:
        """The patterns of layers that were trained, as its file states them."""
        return tuple(self.config.get("include") or ())

    @property
    def exclude(self) -> tuple[str, ...]:
        """The patterns of layers that were left out."""
        return tuple(self.config.get("exclude") or ())
