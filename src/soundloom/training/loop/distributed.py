"""The device, the precision and the processes of a run.

A single process needs only PyTorch. Several processes, started by torchrun, communicate through Accelerate. Each
computes some of the micro-batches of a step (`LoopConfig.accumulate`), so their number does not change the result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from soundloom.engines.threads import set_threads
from soundloom.engines.torch.components import choose_device
from soundloom.errors import EngineError


@dataclass(frozen=True)
class DistributedConfig:
    """How a run computes; none of it changes the result beyond rounding."""

    device: str | None = None  # none means the best available
    precision: Literal["fp32", "bf16"] = "fp32"  # of matmuls; weights and optimizer stay in fp32
    threads: int | None = None  # of the CPU; None keeps their number
    recompute: bool = False  # gradient checkpointing
    compile: bool = False
    shard: bool = False  # weights, gradients and optimizer over all processes (FSDP2)


class Distributed:
    """A single process on one device; all collective operations are trivial."""

    rank, world_size = 0, 1

    def __init__(self, config: DistributedConfig | None = None) -> None:
        self.config = config or DistributedConfig(device="cpu")
        self.device = self._choose_device()
        if self.config.threads is not None:
            set_threads("torch", self.config.threads)
        # Denormal weights and latents would slow a CPU down a hundredfold.
        torch.set_flush_denormal(True)

    def _choose_device(self) -> torch.device:
        return torch.device(choose_device(self.config.device))

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute matmuls in the configured precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def all_reduce(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        return values

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum every gradient over all processes, in place."""

    def broadcast(self, module: nn.Module) -> None:
        """Copy the weights and buffers of the main process to all others."""

    def average_buffers(self, module: nn.Module) -> None:
        """Average the saved buffers, which depend on each process's data, over all processes."""

    def any_rank(self, value: bool) -> bool:
        """Return on every process whether `value` is true on any."""
        return value

    def close(self) -> None:
        """Wait for all processes and end their communication."""


class AccelerateDistributed(Distributed):
    """One of several processes that torchrun started."""

    def _choose_device(self) -> torch.device:
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=self.config.device == "cpu")
        self.rank, self.world_size = self._accelerator.process_index, self._accelerator.num_processes
        return self._accelerator.device

    def all_reduce(self, values: Tensor) -> Tensor:
        return self._accelerator.reduce(values, "sum")

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        vector_to_parameters(self.all_reduce(parameters_to_vector(gradients)), gradients)

    def broadcast(self, module: nn.Module) -> None:
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor, src=0)

    def average_buffers(self, module: nn.Module) -> None:
        saved = module.state_dict().keys()  # all other buffers are constants
        for name, buffer in module.named_buffers():
            if name in saved and buffer.is_floating_point():
                buffer.copy_(self.all_reduce(buffer) / self.world_size)

    def any_rank(self, value: bool) -> bool:
        return bool(self.all_reduce(torch.tensor(float(value), device=self.device)) > 0)

    def close(self) -> None:
        self._accelerator.wait_for_everyone()
        self._accelerator.end_training()


def init_distributed(config: DistributedConfig) -> Distributed:
    """Join the processes that torchrun's environment describes. Raises EngineError."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        if config.shard:
            raise EngineError(
                "sharding needs several processes, and there is one",
                "start them with torchrun --nproc-per-node N -m soundloom train …",
            )
        return Distributed(config)
    try:
        return AccelerateDistributed(config)
    except ImportError as error:
        hint = "pip install 'soundloom[train]'"
        raise EngineError(f"{world_size} processes need Accelerate ({error})", hint) from error
