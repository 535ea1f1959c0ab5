"""Phase terms of the spectral loss: how phases advance from frame to frame and from bin to bin.

Spectra are complex, (..., frames, bins). Neither term unwraps a phase or looks at one alone: both compare products of
neighbors, and loud neighbors count more. Source: SAME, as described for its training code; where a product is too
small for a phase, the term here is 0 for equal spectra, which it is not there.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_PRODUCT = 1e-3  # of neighboring magnitudes; below it a phase means nothing


def complex_difference(x: Tensor, y: Tensor) -> Tensor:
    """Logarithm of the squared complex error, relative to its own spread."""
    error = (x - y).abs().square()
    return torch.log1p(error / error.detach().flatten(2).std(-1)[..., None, None].clamp_min(1e-5)).mean()


def time_difference(x: Tensor, y: Tensor) -> Tensor:
    """Difference of phase increments between frames, which are instantaneous frequencies."""
    return _increments(x[..., 1:, :], x[..., :-1, :], y[..., 1:, :], y[..., :-1, :])


def frequency_difference(x: Tensor, y: Tensor) -> Tensor:
    """Difference of phase increments between bins, which are group delays."""
    return _increments(x[..., 1:], x[..., :-1], y[..., 1:], y[..., :-1])


def _increments(x_next: Tensor, x: Tensor, y_next: Tensor, y: Tensor) -> Tensor:
    """Mean of 1 - cos of the difference of two phase increments, weighted by the magnitudes."""
    agreement = (x_next * x.conj() * y_next.conj() * y).real
    a, b = x_next.abs() * x.abs(), y_next.abs() * y.abs()
    loud = a.clamp_min(SMALLEST_PRODUCT) * b.clamp_min(SMALLEST_PRODUCT)
    weight = loud.sqrt().detach()
    return (weight / weight.mean() * (a * b - agreement) / loud).mean()
