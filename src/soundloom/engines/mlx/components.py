"""Base class of the MLX engines: loads and frees components on one device."""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.engines.base import memory_error
from soundloom.engines.mlx.load import named_parameters
from soundloom.errors import EngineError

PRECISIONS = {"fp32": mx.float32, "bf16": mx.bfloat16, "fp16": mx.float16}
CACHE_BYTES = 1 << 30  # freed buffers that MLX may cache; without a limit they pile up as lengths change
CPU_CACHE_BYTES = 1 << 23  # CPU buffers come from the heap, which caches freed memory too

_MEMORY_SIGNS = ("Attempting to allocate", "Unable to allocate", "Insufficient Memory", "OutOfMemory")

Component = TypeVar("Component", bound=str)
Owner = TypeVar("Owner", bound="ComponentEngine[Any]")
Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def on_device(method: Callable[Concatenate[Owner, Inputs], Output]) -> Callable[Concatenate[Owner, Inputs], Output]:
    """Run a method on the engine's device, whatever MLX's default; out-of-memory errors become EngineError."""

    @functools.wraps(method)
    def run(self: Owner, *args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        try:
            with mx.stream(mx.cpu if self.device == "cpu" else mx.gpu):
                return method(self, *args, **kwargs)
        except RuntimeError as error:
            if out_of_memory := memory_error(error, _MEMORY_SIGNS):
                raise out_of_memory from error
            raise

    return run


class ComponentEngine(ABC, Generic[Component]):
    """See `BaseEngine`. Raises EngineError for an unknown precision or an unavailable device."""

    def __init__(self, device: str | None, precision: str) -> None:
        self.device = choose_device(device)
        # Half precision with a float32 residual stream is accurate and faster on GPUs; it is no faster on CPUs.
        self.precision = ("fp32" if self.device == "cpu" else "fp16") if precision == "auto" else precision
        if self.precision not in PRECISIONS:
            raise EngineError(
                f"no precision named {precision!r} on the MLX engine",
                f"give --precision auto, or one of {', '.join(PRECISIONS)}",
            )
        # By default newer GPUs multiply float32 with a mantissa of 10 bits; MLX reads this at its first matmul.
        os.environ.setdefault("MLX_ENABLE_TF32", "0")
        mx.set_cache_limit(CPU_CACHE_BYTES if self.device == "cpu" else CACHE_BYTES)
        self._modules: dict[Component, nn.Module] = {}

    @property
    def device_name(self) -> str:
        device = mx.gpu if self.device == "gpu" else mx.cpu
        return str(mx.device_info(device)["device_name"])

    @on_device
    def load(self, component: Component) -> None:
        if component not in self._modules:
            self._modules[component] = self._build(component)

    def free(self, *components: Component) -> None:
        for component in components:
            self._modules.pop(component, None)
        mx.clear_cache()  # networks have no reference cycles, so no collection is needed

    def weight_bytes(self, component: Component) -> int:
        return sum(array.nbytes for array in named_parameters(self.module(component)).values())

    def module(self, component: Component) -> Any:
        """The component's network, loaded on first use."""
        self.load(component)
        return self._modules[component]

    @abstractmethod
    def _build(self, component: Component) -> nn.Module: ...

    def array(self, value: np.ndarray) -> mx.array:
        return mx.array(value)

    @on_device
    def numpy(self, value: mx.array) -> np.ndarray:
        return np.array(value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value)

    def reset_peak(self) -> None:
        mx.reset_peak_memory()

    def peak_memory(self) -> int | None:
        return None if self.device == "cpu" else mx.get_peak_memory()


def choose_device(wanted: str | None) -> str:
    """Return the wanted device, or the best one if None or "auto". Raises EngineError for an unavailable device."""
    available = {"gpu": mx.is_available(mx.gpu), "cpu": True}
    if wanted is None or wanted == "auto":
        return next(device for device, here in available.items() if here)
    if not available.get(wanted, False):
        known = ", ".join(device for device, here in available.items() if here)
        raise EngineError(f"the MLX engine has no device {wanted!r} on this machine", f"available: {known}")
    return wanted
