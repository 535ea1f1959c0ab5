"""Phase terms of the spectral loss: phase increments between frames and between bins.

Spectra are complex, (..., frames, bins). No phase is unwrapped: both terms compare products of neighbors, weighted by
magnitude. Source: SAME, as described for its training code; unlike there, the terms are 0 for equal spectra even where
products are too small for a phase.
"""

from __future__ import annotations

import torch
from torch import Tensor

PRODUCT_FLOOR = 1e-3  # of neighboring magnitudes; below it phases are ignored


def complex_error(x: Tensor, y: Tensor) -> Tensor:
    """Log of the squared complex error, relative to its own spread."""
    error = (x - y).abs().square()
    return torch.log1p(error / error.detach().flatten(2).std(-1)[..., None, None].clamp_min(1e-5)).mean()


def instantaneous_frequency_difference(x: Tensor, y: Tensor) -> Tensor:
    """Difference of phase increments between frames."""
    return _increments(x[..., 1:, :], x[..., :-1, :], y[..., 1:, :], y[..., :-1, :])


def group_delay_difference(x: Tensor, y: Tensor) -> Tensor:
    """Difference of phase increments between bins."""
    return _increments(x[..., 1:], x[..., :-1], y[..., 1:], y[..., :-1])


def _increments(x_next: Tensor, x: Tensor, y_next: Tensor, y: Tensor) -> Tensor:
    """Mean of 1 - cos of the difference of two phase increments, weighted by the magnitudes."""
    agreement = (x_next * x.conj() * y_next.conj() * y).real
    a, b = x_next.abs() * x.abs(), y_next.abs() * y.abs()
    loud = a.clamp_min(PRODUCT_FLOOR) * b.clamp_min(PRODUCT_FLOOR)
    weight = loud.sqrt().detach()
    return (weight / weight.mean() * (a * b - agreement) / loud).mean()
