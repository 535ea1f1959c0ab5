"""Measure how fast a device multiplies matrices, to estimate the time of a step."""

from __future__ import annotations

import time

import torch

SIZE, TOKENS = 1024, 512
MIN_SECONDS = 0.2


def matmul_speed(device: torch.device, half: bool) -> float:
    """Return operations per second of a product like those of a step."""
    dtype = torch.bfloat16 if half else torch.float32
    x, weight = (torch.randn(rows, SIZE, device=device, dtype=dtype) for rows in (TOKENS, SIZE))
    runs, started = 0, 0.0
    for runs in range(-3, 10_000):  # the first warm up
        if runs == 0:
            _wait(device)
            started = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        if runs > 0 and runs % 4 == 0:
            _wait(device)
            if time.perf_counter() - started > MIN_SECONDS:
                break
    return 2.0 * SIZE * SIZE * TOKENS * (runs + 1) / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
