"""Options of commands that train: devices, processes, and how a run stops and resumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.model import DeviceOptions
from soundloom.cli.options.shared import precision_flag
from soundloom.errors import RequestError


@dataclass(frozen=True)
class ComputeOptions(DeviceOptions):
    """Model and device."""

    recompute: bool = switch(
        "--recompute",
        hidden=("--grad-checkpoint",),
        help="gradient checkpointing: less memory, about a third more time",
    )
    compile: bool = switch("--compile", help="compile the transformer blocks with torch.compile")


@dataclass(frozen=True)
class DistributedOptions(ComputeOptions):
    """Model and device."""

    precision: Literal["fp32", "bf16"] = precision_flag(
        default="fp32", choices=("fp32", "bf16"), help="bf16 trains with autocast"
    )
    shard: bool = switch("--shard", help="shard weights and optimizer state over the processes (FSDP2)")


@dataclass(frozen=True)
class RunOptions:
    """Options."""

    minutes: float = flag(
        "--minutes", default=math.inf, type=float, metavar="N", help="stop after this time; run again to continue"
    )
    resume: bool = switch("--resume", help="fail unless there is a run to resume (resuming is the default)")
    restart: bool = switch("--restart", help="discard the progress and start over")

    def check_run(self) -> None:
        """Raise RequestError for contradictions."""
        if self.resume and self.restart:
            raise RequestError("--resume and --restart contradict each other")
        if self.minutes <= 0:
            raise RequestError("--minutes must be above 0")
