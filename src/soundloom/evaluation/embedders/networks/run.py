"""Run a network on windows, in batches, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.engines.torch.components import choose_device
from soundloom.errors import EngineError, MismatchError
from soundloom.evaluation.embedders.base import EmbedderInfo, Floats, check_windows

if TYPE_CHECKING:
    from soundloom.checkpoints.formats.tensors import Tensors


class NetworkEmbedder:
    """An embedder whose `network` turns windows (b, samples) into vectors (b, d) on one device."""

    def __init__(self, info: EmbedderInfo, network: nn.Module, device: str | None = None) -> None:
        self.info = info
        self.device = choose_device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)

    def embed(self, windows: Floats) -> Floats:
        """Embed windows (b, samples) to vectors (b, dimensions)."""
        return self.run(windows, self.network)

    def run(self, windows: Floats, function: Callable[[Tensor], Tensor]) -> Floats:
        """Apply a function to checked windows in batches; return its result (b, d)."""
        windows = check_windows(self.info, windows)
        if not len(windows):
            return np.zeros((0, self.info.dimensions), np.float32)
        parts = (windows[start : start + self.info.batch] for start in range(0, len(windows), self.info.batch))
        with memory_errors(self.info.name), torch.inference_mode():
            tensors = [function(torch.tensor(part, device=self.device)).float().cpu() for part in parts]
        return torch.cat(tensors).numpy()


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Turn a lack of GPU memory into an EngineError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(f"{name} has too little memory on this device", "use the CPU: --device cpu") from error


class FrameSpectra(nn.Module):
    """Power spectra (b, frames, size / 2 + 1) of windows (b, n) in frames that lie inside the window."""

    taper: Tensor

    def __init__(self, size: int, hop: int, periodic: bool) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("taper", torch.hann_window(size, periodic, dtype=torch.float64).float(), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        frames = windows.unfold(1, self.size, self.hop) * self.taper
        return torch.fft.rfft(frames, dim=2).abs().square()


def load_weights(network: nn.Module, tensors: Tensors | Mapping[str, np.ndarray], what: str) -> None:
    """Load weights into a network. Raises MismatchError unless names and shapes fit."""
    values = {
        name: torch.from_numpy(np.array(tensor if isinstance(tensor, np.ndarray) else tensor.numpy()))
        for name, tensor in tensors.items()
    }
    try:
        network.load_state_dict(values)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise MismatchError(f"{what} does not fit its network: {reason}", "fetch the weights again") from error
