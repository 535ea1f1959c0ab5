"""What layers of a network answer on the way, and how far two such answers are apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SMALLEST_FEATURE = 1e-3


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what these modules return, in order of their calls, while the context lasts."""
    collected: list[Tensor] = []

    def collect(module: nn.Module, arguments: object, output: Tensor) -> None:
        collected.append(output)

    hooks = [module.register_forward_hook(collect) for module in modules]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()


def feature_distance(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the absolute difference relative to the size of the real features, which are constants."""
    distances = [
        (a - b.detach()).abs().mean() / (b.detach().abs().mean() + SMALLEST_FEATURE)
        for a, b in zip(made, real, strict=True)
    ]
    return torch.stack(distances).mean()
