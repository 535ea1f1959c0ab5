"""The engines on which `soundloom lora train` runs, each with its device and precision."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from soundloom.engines.registry import engine_name, use_threads
from soundloom.engines.threads import import_torch
from soundloom.errors import EngineError

if TYPE_CHECKING:
    from soundloom.training.loop.distributed import Distributed
    from soundloom.training.loop.logging import Callback
    from soundloom.training.lora.plan import RunPlan

FrozenPrecision = Literal["fp32", "bf16"]
Precision = Literal["auto", "fp32", "bf16"]
MIN_HALF_WIDTH = 512  # narrower transformers are not bound by matmuls and stay in FP32


class Settings(Protocol):
    """The options that choose an engine."""

    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str | None: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def recompute(self) -> bool: ...
    @property
    def compile(self) -> bool: ...


class TrainingEngine(ABC):
    """One process of a run on an engine; `is_main` for the only one that writes files."""

    name: Literal["torch", "mlx"]
    precision: FrozenPrecision
    device: str
    is_main = True

    @abstractmethod
    def matmul_speed(self) -> float:
        """Return operations per second of matrix products."""

    @abstractmethod
    def train(
        self, plan: RunPlan, callbacks: Sequence[Callback], until: Callable[[], bool], save_now: Callable[[], bool]
    ) -> bool:
        """Train to the last step, or until stopped; return whether training finished."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until all processes of the run are here."""


class TorchTraining(TrainingEngine):
    """Training on PyTorch, in one or several processes."""

    name = "torch"

    def __init__(self, distributed: Distributed, precision: FrozenPrecision) -> None:
        self.distributed, self.precision = distributed, precision
        self.device, self.is_main = str(distributed.device), distributed.is_main

    def wait(self) -> None:
        self.distributed.any_rank(False)

    def matmul_speed(self) -> float:
        from soundloom.training.lora.speed import matmul_speed

        return matmul_speed(self.distributed.device, self.precision == "bf16")

    def train(self, plan: RunPlan, callbacks: Sequence[Callback], until: Any, save_now: Any) -> bool:
        from soundloom.training.lora.run import LoraRun

        return LoraRun(plan, self.distributed, self.precision, callbacks, until, save_now).train()


class MLXTraining(TrainingEngine):
    """Training on MLX, in one process."""

    name = "mlx"

    def __init__(self, device: str, precision: FrozenPrecision, recompute: bool, compile: bool) -> None:
        self.device, self.precision, self.recompute, self.compile = device, precision, recompute, compile

    def wait(self) -> None:
        """There is one process."""

    def matmul_speed(self) -> float:
        from soundloom.training.lora.mlx.speed import matmul_speed

        return matmul_speed(self.device, self.precision == "bf16")

    def train(self, plan: RunPlan, callbacks: Sequence[Callback], until: Any, save_now: Any) -> bool:
        from soundloom.training.lora.mlx.run import MLXRun

        settings = (self.device, self.precision, self.recompute, self.compile)
        return MLXRun(plan, *settings, callbacks=callbacks, until=until, save_now=save_now).train()


@contextmanager
def training_engine(options: Settings, width: int) -> Iterator[TrainingEngine]:
    """Start the engine of some options for a transformer of some width, and stop its processes at the end.

    "auto" precision is BF16 where the device multiplies it natively and the model is large. Raises EngineError.
    """
    is_wide = width >= MIN_HALF_WIDTH
    if engine_name(options.engine) == "mlx":
        from soundloom.engines.mlx.components import choose_device

        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise EngineError(
                "the MLX engine trains in one process", "start it without torchrun, or use --engine torch"
            )
        use_threads("mlx", options.threads)
        device = choose_device(options.device)
        precision = _resolved(options.precision, is_wide and device == "gpu")
        yield MLXTraining(device, precision, options.recompute, options.compile)
        return
    import_torch()
    from soundloom.engines.torch.precision import has_bf16
    from soundloom.training.loop.distributed import DistributedConfig, init_distributed

    settings = {name: getattr(options, name) for name in ("device", "threads", "recompute", "compile")}
    distributed = init_distributed(DistributedConfig(**settings))
    try:
        kind = distributed.device.type
        native = has_bf16() if kind == "cpu" else kind == "cuda"
        yield TorchTraining(distributed, _resolved(options.precision, is_wide and native))
    finally:
        distributed.close()


def _resolved(precision: Precision, prefers_half: bool) -> FrozenPrecision:
    if precision != "auto":
        return precision
    return "bf16" if prefers_half else "fp32"
