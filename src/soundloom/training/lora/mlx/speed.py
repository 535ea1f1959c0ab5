"""Measure how fast a device multiplies matrices, to estimate the time of a step.

On PyTorch: `training.lora.speed`.
"""

from __future__ import annotations

import time

import mlx.core as mx

SIZE, TOKENS = 1024, 512
MIN_SECONDS = 0.2


def matmul_speed(device: str, half: bool) -> float:
    """Return operations per second of a product like those of a step."""
    dtype = mx.bfloat16 if half else mx.float32
    with mx.stream(mx.cpu if device == "cpu" else mx.gpu):
        x, weight = (mx.random.normal((rows, SIZE)).astype(dtype) for rows in (TOKENS, SIZE))
        mx.eval(x @ weight.T)
        runs, started = 0, time.perf_counter()
        while time.perf_counter() - started < MIN_SECONDS:
            mx.eval(x @ weight.T)
            runs += 1
    return 2.0 * SIZE * SIZE * TOKENS * runs / (time.perf_counter() - started)
