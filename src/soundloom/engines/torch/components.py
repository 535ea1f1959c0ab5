"""Base class of the PyTorch engines: loads and frees components on one device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.engines.torch.memory import malloc_trim, reuse_freed_memory
from soundloom.errors import EngineError

Component = TypeVar("Component", bound=str)


class ComponentEngine(ABC, Generic[Component]):
    """See `BaseEngine`."""

    def __init__(self, device: str | None) -> None:
        self.device = choose_device(device)
        if self.device == "cpu":
            reuse_freed_memory()
        self._modules: dict[Component, nn.Module] = {}

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else self.device

    def load(self, component: Component) -> None:
        if component not in self._modules:
            self._modules[component] = self._build(component)

    def free(self, *components: Component) -> None:
        for component in components:
            self._modules.pop(component, None)
        malloc_trim()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        elif self.device == "mps":
            torch.mps.empty_cache()

    def weight_bytes(self, component: Component) -> int:
        return sum(tensor.nbytes for tensor in self.module(component).state_dict().values())

    def module(self, component: Component) -> Any:
        """The component's network, loaded on first use."""
        self.load(component)
        return self._modules[component]

    @abstractmethod
    def _build(self, component: Component) -> nn.Module: ...

    def array(self, value: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(value)).to(self.device)

    def numpy(self, value: Tensor) -> np.ndarray:
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()

    def reset_peak(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.device) if self.device.startswith("cuda") else None


def choose_device(wanted: str | None) -> str:
    """Return the wanted device, or the best one if None or "auto". Raises EngineError for an unavailable device."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {"cuda": gpus, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if wanted is None or wanted == "auto":
        return next(device for device, count in counts.items() if count)
    kind, _, number = wanted.partition(":")
    if (wanted not in counts and not number.isdecimal()) or int(number or 0) >= counts.get(kind, 0):
        known = [f"{device}:{i}" if count > 1 else device for device, count in counts.items() for i in range(count)]
        raise EngineError(f"no device {wanted!r} on this machine", f"available: {', '.join(known)}")
    return wanted
