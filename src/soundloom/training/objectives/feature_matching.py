"""Collect intermediate outputs of a network, and compare them for feature matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

FEATURE_FLOOR = 1e-3


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the outputs of these modules, in order of calls, while the context is open."""
    collected: list[Tensor] = []

    def collect(module: nn.Module, arguments: object, output: Tensor) -> None:
        collected.append(output)

    hooks = [module.register_forward_hook(collect) for module in modules]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()


def feature_distance(decoded: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the absolute difference, relative to the magnitude of the detached real features."""
    distances = [
        (a - b.detach()).abs().mean() / (b.detach().abs().mean() + FEATURE_FLOOR)
        for a, b in zip(decoded, real, strict=True)
    ]
    return torch.stack(distances).mean()
