"""The loss of one step on MLX: the network on prepared inputs, and weighted squared errors.

On PyTorch: `training.lora.objective`.
"""

from __future__ import annotations

from typing import Literal

import mlx.core as mx
import numpy as np

from soundloom.engines.mlx.blocks import Padding
from soundloom.training.lora.mlx.network import BaseNetwork
from soundloom.training.lora.step import StepInputs

PaddingMode = Literal["mask", "zero-values"]
Arrays = dict[str, mx.array]
_ARGUMENTS = ("x", "times", "prompt", "seconds", "dropped", "local")


def step_arrays(inputs: StepInputs, prompt: np.ndarray) -> Arrays:
    """Copy the inputs of a step and the rows (b, s, d) of its texts to the device; no `valid` stands for all frames."""
    # Without preserved frames, all frames have the same local conditioning.
    local = inputs.local if inputs.local.any() else inputs.local[:1, :, :1]
    arrays = {name: getattr(inputs, name) for name in ("x", "target", "times", "seconds", "dropped")}
    arrays |= {"generated": inputs.generated, "preserved": inputs.preserved, "local": local, "prompt": prompt}
    if inputs.is_padded:
        arrays["valid"] = inputs.valid
    return {name: mx.array(array) for name, array in arrays.items()}


def step_losses(
    network: BaseNetwork, arrays: Arrays, repeats: int = 1, padding_mode: PaddingMode = "mask"
) -> tuple[mx.array, mx.array]:
    """Return the losses of the generated frames of each clip (b,), and of all preserved frames.

    Their sum is minimized. The last row of each text stands for `repeats` equal ones. `padding_mode` is that of the
    published code where it is "zero-values"; "mask" excludes padding exactly.
    """
    padding = Padding(arrays["valid"], padding_mode) if "valid" in arrays else None
    x, times, prompt, seconds, dropped, local = (arrays[name] for name in _ARGUMENTS)
    velocity = network.velocity(x, times, prompt, seconds, dropped, local, padding, repeats)
    errors = mx.square(velocity - arrays["target"])
    return (errors * arrays["generated"]).sum(axis=(1, 2)), (errors * arrays["preserved"]).sum()
