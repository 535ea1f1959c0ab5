"""The loss of one step on PyTorch: the network on prepared inputs, and weighted squared errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundloom.engines.torch.blocks import Padding
from soundloom.training.lora.network import BaseNetwork
from soundloom.training.lora.prompts import Prompts
from soundloom.training.lora.step import StepInputs

PaddingMode = Literal["mask", "zero-values"]


@dataclass(frozen=True)
class StepLosses:
    """The loss and its two parts, and the generated part of each clip times the number of clips (b,)."""

    generated: Tensor
    preserved: Tensor
    clips: Tensor

    @property
    def loss(self) -> Tensor:
        return self.generated + self.preserved


def step_losses(
    network: BaseNetwork, inputs: StepInputs, prompts: Prompts, device: Any, padding_mode: PaddingMode = "mask"
) -> StepLosses:
    """Predict the velocity and compare it to the target.

    `padding_mode` is that of the published code where it is "zero-values"; "mask" excludes padding exactly.
    """

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    padding = Padding(tensor(inputs.valid), padding_mode) if inputs.is_padded else None
    # Without preserved frames, all frames have the same local conditioning.
    local = inputs.local if inputs.local.any() else inputs.local[:1, :, :1]
    velocity = network.velocity(
        tensor(inputs.x),
        tensor(inputs.times),
        tensor(prompts.rows),
        tensor(inputs.seconds),
        tensor(inputs.dropped),
        tensor(local),
        padding,
        prompts.repeats,
    )
    errors = (velocity - tensor(inputs.target)).square()
    clips = (errors * tensor(inputs.generated)).sum((1, 2))
    return StepLosses(clips.sum(), (errors * tensor(inputs.preserved)).sum(), len(errors) * clips.detach())
