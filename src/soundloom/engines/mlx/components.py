"""Networks of a checkpoint on one device: what the engines of Stable Audio and of MusicGen share on MLX."""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import mlx.core as mx
from mlx import nn

from soundloom.engines.mlx.load import named_parameters
from soundloom.engines.stable_audio import memory_error
from soundloom.errors import EngineError

PRECISIONS = {"fp32": mx.float32, "bf16": mx.bfloat16, "fp16": mx.float16}
CACHE_BYTES = 1 << 30  # of freed buffers that MLX may keep; without a limit they pile up as lengths change
CPU_CACHE_BYTES = 1 << 23  # there, memory comes from the heap, which keeps what is freed as well

_SAID_OF_MEMORY = ("Attempting to allocate", "Unable to allocate", "Insufficient Memory", "OutOfMemory")

Component = TypeVar("Component", bound=str)
Owner = TypeVar("Owner", bound="ComponentEngine[Any]")
Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def on_device(method: Callable[Concatenate[Owner, Inputs], Output]) -> Callable[Concatenate[Owner, Inputs], Output]:
    """Run a method with the engine's device as MLX's default one, whatever the rest of the process uses.

    Too little memory becomes an EngineError.
    """

    @functools.wraps(method)
    def run(self: Owner, *args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        try:
            with mx.stream(mx.cpu if self.device == "cpu" else mx.gpu):
                return method(self, *args, **kwargs)
        except RuntimeError as error:
            said = memory_error(error, _SAID_OF_MEMORY)
            if said is None:
                raise
            raise said from error

    return run


class ComponentEngine(ABC, Generic[Component]):
    """Components are built when they are first used and leave with `free`. Raises EngineError for a precision."""

    def __init__(self, device: str | None, precision: str) -> None:
        self.device = choose_device(device)
        # Half precision with a float32 residual stream is transparent on GPUs; CPUs gain nothing from it here.
        self.precision = ("fp32" if self.device == "cpu" else "fp16") if precision == "auto" else precision
        if self.precision not in PRECISIONS:
            raise EngineError(
                f"no precision named {precision!r} on the MLX engine",
                f"give --precision auto, or one of {', '.join(PRECISIONS)}",
            )
        # Newer GPUs multiply float32 with 10 bits of mantissa unless told; MLX reads this at its first product.
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
        mx.clear_cache()  # networks hold no cycles: their last name frees them

    def weight_bytes(self, component: Component) -> int:
        return sum(array.nbytes for array in named_parameters(self.module(component)).values())

    def module(self, component: Component) -> Any:
        """The network, built now if it is not here yet."""
        self.load(component)
        return self._modules[component]

    @abstractmethod
    def _build(self, component: Component) -> nn.Module: ...

    def reset_peak(self) -> None:
        mx.reset_peak_memory()

    def peak_memory(self) -> int | None:
        return None if self.device == "cpu" else mx.get_peak_memory()


def choose_device(wanted: str | None) -> str:
    """Return the device to use: the one asked for if it is here, else the best there is."""
    available = {"gpu": mx.is_available(mx.gpu), "cpu": True}
    if wanted is None or wanted == "auto":
        return next(device for device, here in available.items() if here)
    if not available.get(wanted, False):
        here = ", ".join(device for device, there in available.items() if there)
        raise EngineError(f"the MLX engine has no device {wanted!r} on this machine", f"available: {here}")
    return wanted
