"""Choose the precision of a network's matmuls by what the processor is fast at.

Measured on two cores of a server processor with AVX-512: FP32 150 GFLOP/s, BF16 410, INT8 830; with AMX: 320, 2000,
2400.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from soundloom.engines.torch.fp8 import MIN_CAPABILITY
from soundloom.errors import EngineError

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "fp8")
FASTEST, MOST_EXACT = ("int8", "bf16"), ("bf16", "int8")  # orders in which "auto" tries native precisions
MIN_WIDTH = 512  # narrower transformers are not bound by matmuls and stay in FP32


@dataclass(frozen=True)
class Precision:
    """The dtype of a transformer's weights, and that of the linear layers in its blocks if it differs."""

    name: str
    dtype: torch.dtype
    blocks: torch.dtype | Literal["int8", "fp8"] | None = None

    @classmethod
    def choose(cls, wanted: str, device: str, width: int, preferred: Sequence[str] = FASTEST) -> Precision:
        """Return the precision `wanted`, or for "auto" the one for this device and width.

        On a CPU, "auto" is the first of `preferred` that the processor multiplies natively, else FP32.
        Raises EngineError for an unknown name or one that the device does not support.
        """
        if wanted not in ("auto", *PRECISIONS):
            raise EngineError(f"no precision named {wanted!r}", f"known: auto, {', '.join(PRECISIONS)}")
        name = wanted if wanted != "auto" else _default(device, width, preferred)
        if name == "int8" and device == "mps":
            raise EngineError("int8 runs on CPUs and NVIDIA GPUs, not on mps", "leave --precision out, or give fp16")
        if name == "fp8" and not has_fp8(device):
            raise EngineError(
                f"fp8 runs on NVIDIA GPUs, Ada or newer, not on {device}", "leave --precision out, or give bf16"
            )
        other = torch.bfloat16 if device != "cpu" or has_bf16() else torch.float32
        if name == "int8":
            return cls(name, other, "int8")
        if name == "fp8":
            return cls(name, other, "fp8")
        return cls(name, {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name])


def _default(device: str, width: int, preferred: Sequence[str]) -> str:
    if device != "cpu":
        return "fp16"
    if width < MIN_WIDTH:
        return "fp32"
    native = native_matmul_precisions()
    return next((name for name in preferred if name in native), "fp32")


def has_bf16() -> bool:
    """Return whether this processor multiplies BF16 natively; False if PyTorch cannot tell."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def has_int8() -> bool:
    """Return whether this processor has INT8 dot products (VNNI)."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", bool)())


def has_amx() -> bool:
    """Return whether this processor has AMX tiles for BF16, fast enough that attention gains from BF16 too."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def has_fp8(device: str) -> bool:
    """Return whether a device multiplies FP8 natively."""
    return device.startswith("cuda") and torch.cuda.get_device_capability(device) >= MIN_CAPABILITY


def native_matmul_precisions() -> list[str]:
    """Return the precisions that this processor multiplies natively, fastest first."""
    return [*(["int8"] if has_int8() else []), *(["bf16"] if has_bf16() else []), "fp32"]
