"""Random numbers of training, which depend on the seed and the position in the run alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundloom.diffusion.noise import keyed_generator


class RngStream:
    """Random numbers of one micro-batch, from (seed, step, micro_batch): a NumPy generator, and tensors from it."""

    def __init__(self, seed: int, step: int, micro_batch: int = 0, device: torch.device | str = "cpu") -> None:
        self.micro_batch, self.device = micro_batch, torch.device(device)
        self.rng = keyed_generator(seed, step, micro_batch)

    def normal(self, *shape: int) -> Tensor:
        """Sample standard normal noise, float32."""
        return self.tensor(self.rng.standard_normal(shape, dtype=np.float32))

    def uniform(self, *shape: int) -> Tensor:
        """Sample from [0, 1), float32."""
        return self.tensor(self.rng.random(shape, dtype=np.float32))

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """Copy an array to the device of the stream, asynchronously to a GPU."""
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)
