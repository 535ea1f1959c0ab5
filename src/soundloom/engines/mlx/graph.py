"""How MLX compiles operations, and in which order it computes them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import mlx.core as mx

Outputs = TypeVar("Outputs", mx.array, tuple[mx.array, mx.array])


def fused(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """Compile elementwise operations into one kernel on a GPU, for all shapes.

    On a CPU, MLX would call the machine's C++ compiler, which may be missing, so the function runs uncompiled.
    """
    kernel = mx.compile(function, shapeless=True)

    @functools.wraps(function)
    def run(*arrays: mx.array) -> Outputs:
        return (kernel if mx.default_device() == mx.gpu else function)(*arrays)

    return run


def after(earlier: mx.array, value: mx.array) -> mx.array:
    """Return `value`, dependent on `earlier`, so that MLX computes nothing from it sooner.

    Otherwise MLX evaluates what depends on weights alone for all layers at once, and holds the results in memory. No
    gradient passes, which would be that of the weight.
    """
    return mx.stop_gradient(mx.depends([value], [earlier])[0])
