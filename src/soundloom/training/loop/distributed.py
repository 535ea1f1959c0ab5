"""Where a run computes: the device, the precision, and the processes that share a step.

One process needs nothing but PyTorch. Several, started by torchrun, are joined by Accelerate; each computes some of the
batches that a step adds up (`LoopConfig.accumulate`), so their number changes who computes what, not what is computed.
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

from soundloom.engines.torch.components import choose_device
from soundloom.errors import EngineError


@dataclass(frozen=True)
class DistributedConfig:
    """What the command line says about the machine; none of it changes what is learnt, but for rounding."""

    device: str | None = None  # none means the best there is
    precision: Literal["fp32", "bf16"] = "fp32"  # of the products; weights, sums and the optimizer stay in fp32
    threads: int = 0  # of the CPU; 0 leaves PyTorch's choice
    recompute: bool = False  # activations of blocks once more in the backward pass instead of keeping them
    compile: bool = False
    shard: bool = False  # weights, gradients and optimizer over all processes, for models that do not fit


class Distributed:
    """One process on one device."""

    rank, world_size = 0, 1

    def __init__(self, config: DistributedConfig | None = None) -> None:
        self.config = config or DistributedConfig(device="cpu")
        self.device = self._choose_device()
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        # Weights and latents that fade to nothing would otherwise slow a CPU down a hundredfold.
        torch.set_flush_denormal(True)

    def _choose_device(self) -> torch.device:
        return torch.device(choose_device(self.config.device))

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute products in the precision that was chosen."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        return values

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum every gradient over all processes, in place."""

    def broadcast(self, module: nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""

    def average_buffers(self, module: nn.Module) -> None:
        """Give all processes the mean of their kept buffers, which follow the data that each of them saw."""

    def any_rank(self, wish: bool) -> bool:
        """Whether any process wishes it; all get the same answer."""
        return wish

    def close(self) -> None:
        """Part from the other processes, once all have come this far."""


class AccelerateDistributed(Distributed):
    """One of the processes that torchrun started."""

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
        kept = module.state_dict().keys()  # others are constants
        for name, buffer in module.named_buffers():
            if name in kept and buffer.is_floating_point():
                buffer.copy_(self.all_reduce(buffer) / self.world_size)

    def any_rank(self, wish: bool) -> bool:
        return bool(self.all_reduce(torch.tensor(float(wish), device=self.device)) > 0)

    def close(self) -> None:
        self._accelerator.wait_for_everyone()
        self._accelerator.end_training()


def init_distributed(config: DistributedConfig) -> Distributed:
    """The machine as torchrun's environment describes it. Raises EngineError."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        if config.shard:
            raise EngineError(
                "sharding spreads a model over several processes, and there is one",
                "start them with torchrun --nproc-per-node N -m soundloom train …",
            )
        return Distributed(config)
    try:
        return AccelerateDistributed(config)
    except ImportError as error:
        hint = "pip install 'soundloom[train]'"
        raise EngineError(f"{world_size} processes need Accelerate ({error})", hint) from error
