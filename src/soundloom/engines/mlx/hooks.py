"""What a transformer's linear layers are given while it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.engines.components import calling_module
from soundloom.engines.mlx.load import assign, find
from soundloom.engines.mlx.stable_audio.engine import MLXEngine


class InputHook(nn.Module):
    """Stands in for a module and tells `hear` what it is given."""

    def __init__(self, module: Any, hear: Callable[[np.ndarray], None]) -> None:
        super().__init__()
        self.module, self.hear = module, hear

    def __call__(self, x: mx.array) -> mx.array:
        self.hear(np.array(x.astype(mx.float32)).reshape(-1, x.shape[-1]))
        return self.module(x)


@contextmanager
def input_hooks(engine: MLXEngine, layers: Collection[str], hear: Callable[[str, np.ndarray], None]) -> Iterator[None]:
    """Tell `hear` the inputs (n, c), float32, of the transformer's named layers that run inside the block."""
    network = engine.module("dit")
    modules = {calling_module(name): find(network, calling_module(name).split(".")) for name in layers}
    for name in layers:
        assign(network, calling_module(name), InputHook(modules[calling_module(name)], partial(hear, name)))
    try:
        yield
    finally:
        for holder, module in modules.items():
            assign(network, holder, module)
