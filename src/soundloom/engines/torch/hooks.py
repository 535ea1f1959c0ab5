"""What a transformer's linear layers are given while it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from soundloom.engines.components import calling_module
from soundloom.engines.torch.stable_audio.engine import TorchEngine


@contextmanager
def input_hooks(
    engine: TorchEngine, layers: Collection[str], hear: Callable[[str, np.ndarray], None]
) -> Iterator[None]:
    """Tell `hear` the inputs (n, c), float32, of the transformer's named layers that run inside the block."""

    def listen(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: hear(name, inputs[0].detach().float().flatten(0, -2).cpu().numpy())

    network = engine.module("dit")
    hooks = [network.get_submodule(calling_module(name)).register_forward_pre_hook(listen(name)) for name in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
