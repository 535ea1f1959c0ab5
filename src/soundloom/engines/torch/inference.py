"""The decorator of all calls into networks: no gradients, and out-of-memory errors as EngineError."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from soundloom.engines.base import memory_error

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")
_MEMORY_SIGNS = ("out of memory", "allocate memory")  # in messages of the GPU and CPU allocators


def inference_mode(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Run a function in torch.inference_mode; out-of-memory errors become EngineError."""

    @functools.wraps(function)
    def run(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        try:
            with torch.inference_mode():
                return function(*args, **kwargs)
        except RuntimeError as error:
            if out_of_memory := memory_error(error, _MEMORY_SIGNS):
                raise out_of_memory from error
            raise

    return run
