"""Forward hooks that observe the inputs of the transformer's linear layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from soundloom.engines.base import calling_module
from soundloom.engines.torch.stable_audio.engine import TorchEngine


@contextmanager
def input_hooks(
    engine: TorchEngine, layers: Collection[str], callback: Callable[[str, np.ndarray], None]
) -> Iterator[None]:
    """Call `callback` with the path and inputs (n, c), float32, of the transformer's linear layers at these paths."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: callback(name, inputs[0].detach().float().flatten(0, -2).cpu().numpy())

    network = engine.module("dit")
    handles = [network.get_submodule(calling_module(name)).register_forward_pre_hook(hook(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
