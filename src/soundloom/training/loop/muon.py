"""Muon for the matrices of transformer blocks, AdamW for everything else, as one optimizer.

Muon replaces a matrix's momentum by the nearest semi-orthogonal matrix, so that rare directions, such as those of rare
words, move as far as common ones. Source of the iteration and its coefficients: Jordan et al., "Muon: an optimizer for
hidden layers in neural networks" (2024). Updates are scaled as in Liu et al., "Muon is scalable for LLM training"
(2025), so that learning rates mean the same as for AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from soundloom.engines.torch.precision import has_bf16

MOMENTUM = 0.95
ITERATIONS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
UPDATE_RMS = 0.2  # of AdamW's updates, in learning rates
MIN_NORM = 1e-7


class Muon(torch.optim.AdamW):
    """AdamW that steps the groups with `orthogonal` set, of matrices only, by Muon."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, eps: float = 1e-8) -> None:
        super().__init__([{"orthogonal": False, **group} for group in groups], lr=lr, eps=eps)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step all groups."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                for matrices in _by_shape(group["params"]):
                    self._step(matrices, group["lr"], group["weight_decay"])
        return loss

    def _step(self, parameters: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        """Step matrices of one shape together, since a single one is too small for fast matmuls."""
        updates = orthogonalize(torch.stack([self._momentum(parameter) for parameter in parameters]))
        size = UPDATE_RMS * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - lr * weight_decay).add_(update.to(parameter.dtype), alpha=-lr * size)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(parameter)}  # AdamW expects a step
        momentum, gradient = state["momentum"], parameter.grad
        assert gradient is not None
        momentum.lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)


def _by_shape(parameters: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """Group the parameters that have gradients by shape."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            groups.setdefault(parameter.shape, []).append(parameter)
    return groups.values()


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (k, m, n) near 1 by Newton-Schulz iteration, in BF16 where it is native."""
    is_wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices.float() if is_wide else matrices.float().mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(MIN_NORM)
    x = x.bfloat16() if matrices.is_cuda or has_bf16() else x
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float() if is_wide else x.float().mT
