"""What all calls into the networks share on PyTorch: no gradients, and a sentence where memory is too small."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from soundloom.engines.stable_audio import memory_error

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")
_SAID_OF_MEMORY = ("out of memory", "allocate memory")  # by allocators of GPUs and of CPUs


def inference_mode(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Call a function without gradients; too little memory becomes an EngineError."""

    @functools.wraps(function)
    def run(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        try:
            with torch.inference_mode():
                return function(*args, **kwargs)
        except RuntimeError as error:
            said = memory_error(error, _SAID_OF_MEMORY)
            if said is None:
                raise
            raise said from error

    return run
