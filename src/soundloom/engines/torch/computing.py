"""What all calls into the networks share on PyTorch: no gradients, and a sentence where memory is too small."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from soundloom.errors import EngineError

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")
_SAID_OF_MEMORY = ("out of memory", "allocate memory")  # by allocators of GPUs and of CPUs


def computing(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Call a function without gradients; too little memory becomes an EngineError."""

    @functools.wraps(function)
    def run(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        try:
            with torch.inference_mode():
                return function(*args, **kwargs)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if not any(words in reason for words in _SAID_OF_MEMORY):
                raise
            raise EngineError(
                f"there is not enough memory: {reason}", "make shorter or fewer clips at once, or take another device"
            ) from error

    return run
