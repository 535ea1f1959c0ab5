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
class MachineConfig:
    """What the command line says about the machine; none of it changes what is learnt, but for rounding."""

    device: str | None = None  # none means the best there is
    precision: Literal["fp32", "bf16"] = "fp32"  # of the products; weights, sums and the optimizer stay in fp32
    threads: int = 0  # of the CPU; 0 leaves PyTorch's choice
    recompute: bool = False  # activations of blocks once more in the backward pass instead of keeping them
    compile: bool = False
    shard: bool = False  # weights, gradients and optimizer over all processes, for models that do not fit


class Machine:
    """One process on one device."""

    rank, processes = 0, 1

    def __init__(self, config: MachineConfig | None = None) -> None:
        self.config = config or MachineConfig(device="cpu")
        self.device = self._choose_device()
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        # Weights and latents that fade to nothing would otherwise slow a CPU down a hundredfold.
        torch.set_flush_denormal(True)

    def _choose_device(self) -> torch.device:
        return torch.device(choose_device(self.config.device))

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute products in the precision that was chosen."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        return values

    def total_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum every gradient over all processes, in place."""

    def unify(self, module: nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""

    def unify_buffers(self, module: nn.Module) -> None:
        """Give all processes the mean of their kept buffers, which follow the data that each of them saw."""

    def decided(self, wish: bool) -> bool:
        """Whether any process wishes it; all get the same answer."""
        return wish

    def close(self) -> None:
        """Part from the other processes, once all have come this far."""


class ParallelMachine(Machine):
    """One of the processes that torchrun started."""

    def _choose_device(self) -> torch.device:
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=self.config.device == "cpu")
        self.rank, self.processes = self._accelerator.process_index, self._accelerator.num_processes
        return self._accelerator.device

    def total(self, values: Tensor) -> Tensor:
        return self._accelerator.reduce(values, "sum")

    def total_gradients(self, parameters: Iterable[Tensor]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        vector_to_parameters(self.total(parameters_to_vector(gradients)), gradients)

    def unify(self, module: nn.Module) -> None:
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor, src=0)

    def unify_buffers(self, module: nn.Module) -> None:
        kept = module.state_dict().keys()  # others are constants
        for name, buffer in module.named_buffers():
            if name in kept and buffer.is_floating_point():
                buffer.copy_(self.total(buffer) / self.processes)

    def decided(self, wish: bool) -> bool:
        return bool(self.total(torch.tensor(float(wish), device=self.device)) > 0)

    def close(self) -> None:
        self._accelerator.wait_for_everyone()
        self._accelerator.end_training()


def open_machine(config: MachineConfig) -> Machine:
    """The machine as torchrun's environment describes it. Raises EngineError."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        if config.shard:
            raise EngineError(
                "sharding spreads a model over several processes, and there is one",
                "start them with torchrun --nproc-per-node N -m soundloom train …",
            )
        return Machine(config)
    try:
        return ParallelMachine(config)
    except ImportError as error:
        hint = "pip install 'soundloom[train]'"
        raise EngineError(f"{processes} processes need Accelerate ({error})", hint) from error
