"""Engines as the golden cases use them: modules, loading, and conversion of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np


class Slots:
    """The adapters of some networks of an engine."""

    def __init__(self, slots: Any, modules: Mapping[str, Any]) -> None:
        self.slots, self.modules = slots, modules

    @contextmanager
    def using(self, branches: Any) -> Iterator[None]:
        """Compute with branches in a block."""
        self.slots.load([branches], self.modules)
        self.slots.use(0, self.modules)
        yield
        self.slots.use(None, self.modules)


class TorchAdapter:
    """The PyTorch engine on the CPU in float32."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        from soundloom.engines.torch.load import load_module

        self._torch, self._load = torch, load_module

    def module(self, file: str) -> Any:
        return import_module(f"soundloom.engines.torch.{file}")

    def build(self, make: Any, weights: Mapping[str, Any], label: str, dtype: str = "float32") -> Any:
        return self._load(make, weights, label, dtype=getattr(self._torch, dtype))

    def engine(self, checkpoint: Any, precision: str = "fp32") -> Any:
        from soundloom.engines.torch.stable_audio.engine import TorchEngine

        return TorchEngine(checkpoint, "cpu", precision)

    def music_engine(self, checkpoint: Any) -> Any:
        from soundloom.engines.torch.musicgen.engine import TorchMusicEngine

        return TorchMusicEngine(checkpoint, "cpu", "fp32")

    def branch_slots(self, modules: Mapping[str, Any]) -> Slots:
        from soundloom.engines.torch.branch_slots import BranchSlots

        return Slots(BranchSlots(), modules)

    def array(self, value: np.ndarray) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(value))

    def tanh(self, value: Any) -> Any:
        return value.tanh()

    def numpy(self, value: Any) -> np.ndarray:
        return value.to(self._torch.float32).numpy() if value.is_floating_point() else value.numpy()


class MLXAdapter:
    """The MLX engine on the CPU in float32."""

    name = "mlx"

    def __init__(self) -> None:
        import mlx.core as mx

        from soundloom.engines.mlx.load import load_module

        self._mx, self._load = mx, load_module

    def module(self, file: str) -> Any:
        return import_module(f"soundloom.engines.mlx.{file}")

    def build(self, make: Any, weights: Mapping[str, Any], label: str, dtype: str = "float32") -> Any:
        return self._load(make, weights, label, getattr(self._mx, dtype))

    def engine(self, checkpoint: Any, precision: str = "fp32") -> Any:
        from soundloom.engines.mlx.stable_audio.engine import MLXEngine

        return MLXEngine(checkpoint, "cpu", precision)

    def music_engine(self, checkpoint: Any) -> Any:
        from soundloom.engines.mlx.musicgen.engine import MLXMusicEngine

        return MLXMusicEngine(checkpoint, "cpu", "fp32")

    def branch_slots(self, modules: Mapping[str, Any]) -> Slots:
        from soundloom.engines.mlx.branch_slots import BranchSlots

        return Slots(BranchSlots(), modules)

    def array(self, value: np.ndarray) -> Any:
        return self._mx.array(value)

    def tanh(self, value: Any) -> Any:
        return self._mx.tanh(value)

    def numpy(self, value: Any) -> np.ndarray:
        floating = self._mx.issubdtype(value.dtype, self._mx.floating)
        return np.array(value.astype(self._mx.float32) if floating else value)


ADAPTERS = {"torch": TorchAdapter, "mlx": MLXAdapter}
