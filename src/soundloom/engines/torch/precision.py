"""Which precision a network multiplies in, by what the processor does fast.

Measured on two cores of a server processor with AVX-512: single precision 150 GFLOP/s, BF16 410, INT8 830; of one
with AMX: 320, 2000, 2400.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from soundloom.engines.torch.fp8 import NATIVE_SINCE
from soundloom.errors import EngineError

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "fp8")
FASTEST, EXACTEST = ("int8", "bf16"), ("bf16", "int8")  # orders in which "auto" looks for what is native
WIDE = 512  # narrower transformers spend their time elsewhere than in products, and keep single precision


@dataclass(frozen=True)
class Precision:
    """What the weights of a transformer become: those of its blocks' linear layers, and all others."""

    name: str
    dtype: torch.dtype
    blocks: torch.dtype | Literal["int8", "fp8"] | None = None

    @classmethod
    def choose(cls, wanted: str, device: str, width: int, preferred: Sequence[str] = FASTEST) -> Precision:
        """Return the precision of that name, or for "auto" what suits the device and this width.

        On a CPU that is the first of the `preferred` ones that the processor multiplies natively, else FP32.
        Raises EngineError for an unknown name, and where the device has no such products.
        """
        if wanted not in ("auto", *PRECISIONS):
            raise EngineError(f"no precision named {wanted!r}", f"known: auto, {', '.join(PRECISIONS)}")
        name = wanted if wanted != "auto" else _suited(device, width, preferred)
        if name == "int8" and device == "mps":
            raise EngineError("int8 runs on CPUs and NVIDIA GPUs, not on mps", "leave --precision out, or give fp16")
        if name == "fp8" and not has_fp8(device):
            raise EngineError(
                f"fp8 runs on NVIDIA GPUs from Ada on, not on {device}", "leave --precision out, or give bf16"
            )
        around = torch.bfloat16 if device != "cpu" or has_bf16() else torch.float32
        match name:
            case "int8":
                return cls(name, around, "int8")
            case "fp8":
                return cls(name, around, "fp8")
        return cls(name, {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name])


def _suited(device: str, width: int, preferred: Sequence[str]) -> str:
    if device != "cpu":
        return "fp16"
    if width < WIDE:
        return "fp32"
    native = native_products()
    return next((name for name in preferred if name in native), "fp32")


def has_bf16() -> bool:
    """Whether this processor multiplies BF16 natively; where torch cannot tell, it is taken not to."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def has_int8() -> bool:
    """Whether this processor adds up products of bytes natively."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", bool)())


def has_amx() -> bool:
    """Whether this processor multiplies tiles of BF16, so fast that attention gains from it too."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def has_fp8(device: str) -> bool:
    """Whether a device multiplies FP8 natively."""
    return device.startswith("cuda") and torch.cuda.get_device_capability(device) >= NATIVE_SINCE


def native_products() -> list[str]:
    """Return the precisions that this processor multiplies natively, fastest first."""
    return [*(["int8"] if has_int8() else []), *(["bf16"] if has_bf16() else []), "fp32"]
