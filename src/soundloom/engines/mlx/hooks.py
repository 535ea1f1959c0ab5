"""Forward hooks that observe the inputs of the transformer's linear layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.engines.base import calling_module
from soundloom.engines.mlx.paths import assign, find
from soundloom.engines.mlx.stable_audio.engine import MLXEngine


class InputHook(nn.Module):
    """Wraps a module and calls `callback` with its input."""

    def __init__(self, module: Any, callback: Callable[[np.ndarray], None]) -> None:
        super().__init__()
        self.module, self.callback = module, callback

    def __call__(self, x: mx.array) -> mx.array:
        self.callback(np.array(x.astype(mx.float32)).reshape(-1, x.shape[-1]))
        return self.module(x)


@contextmanager
def input_hooks(
    engine: MLXEngine, layers: Collection[str], callback: Callable[[str, np.ndarray], None]
) -> Iterator[None]:
    """Call `callback` with the path and inputs (n, c), float32, of the transformer's linear layers at these paths."""
    network = engine.module("dit")
    modules = {calling_module(name): find(network, calling_module(name).split(".")) for name in layers}
    for name in layers:
        assign(network, calling_module(name), InputHook(modules[calling_module(name)], partial(callback, name)))
    try:
        yield
    finally:
        for path, module in modules.items():
            assign(network, path, module)
