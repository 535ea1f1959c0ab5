"""Principal components of audio patches, to initialize an autoencoder.

Two linear stages correspond to the network's layers: patches of (2 * patch) samples to `width` components, and the
components of a latent's patches to `latent_dim`. Both emphasize high frequencies by a power (`emphasis`), because the
loudest components of music are all low. The first stage is independent of pan. Everything is NumPy in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

MIN_HZ, REFERENCE_HZ = 50.0, 1000.0  # emphasis is flat below the first and 1 at the second
VARIANCE_FLOOR = 1e-12


@dataclass(frozen=True)
class LinearCodec:
    """Analysis and synthesis of both stages; rows are components.

    analysis (width, 2 * patch) and gather (latent_dim, stride * width) encode; synthesis and spread, of the same
    shapes, decode by their transposes.
    """

    analysis: Matrix
    synthesis: Matrix
    gather: Matrix
    spread: Matrix

    def encode(self, patches: Matrix) -> Matrix:
        """Patches (n, 2 * patch) to latents (n / stride, latent_dim)."""
        tokens = patches @ self.analysis.T
        return tokens.reshape(-1, self.gather.shape[1]) @ self.gather.T

    def decode(self, latents: Matrix) -> Matrix:
        """Latents to patches."""
        tokens = (latents @ self.spread).reshape(-1, self.synthesis.shape[0])
        return tokens @ self.synthesis


def fit_pca(
    patches: Matrix, stride: int, width: int, latent_dim: int, emphasis: float, whitening: float, rate: int
) -> LinearCodec:
    """Fit a linear codec to patches (n, 2 * patch), n a multiple of `stride`, at a sample rate in hertz.

    Components are scaled by their standard deviation to the power of `-whitening`.
    """
    forward, backward = _emphasis(patches.shape[1] // 2, emphasis, rate)
    first = _components(forward @ _pan_invariant(_covariance(patches)) @ forward.T, width)
    analysis, synthesis = _scaled(first, whitening)
    analysis = analysis @ forward
    tokens = (patches @ analysis.T).reshape(-1, stride * width)
    gather, spread = _scaled(_components(_covariance(tokens), latent_dim), whitening)
    return LinearCodec(analysis, synthesis @ backward.T, gather, spread)


def _covariance(rows: Matrix) -> Matrix:
    return np.asarray(rows.T @ rows / len(rows))


def _pan_invariant(covariance: Matrix) -> Matrix:
    """Average a covariance (2 * patch, 2 * patch) over all pans of each sound.

    A few clips do not contain every sound at every pan; their own components would lose the missing ones.
    """
    patch = len(covariance) // 2
    left, right, across = covariance[:patch, :patch], covariance[patch:, patch:], covariance[:patch, patch:]
    both = left + right
    shared = np.trace(across) / max(np.trace(both), VARIANCE_FLOOR)
    return np.kron([[0.5, shared], [shared, 0.5]], both)


def _components(covariance: Matrix, count: int) -> tuple[Matrix, Matrix]:
    """Leading directions (count, n) and their standard deviations (count,)."""
    variances, directions = np.linalg.eigh(covariance)
    return directions.T[::-1][:count], np.sqrt(np.maximum(variances[::-1][:count], VARIANCE_FLOOR))


def _scaled(components: tuple[Matrix, Matrix], whitening: float) -> tuple[Matrix, Matrix]:
    """Analysis and synthesis rows with partly whitened outputs of unit mean square over all components."""
    directions, deviations = components
    gain = deviations**-whitening
    gain = gain / np.sqrt(np.mean((gain * deviations) ** 2))
    return directions * gain[:, None], directions / gain[:, None]


def _emphasis(patch: int, power: float, rate: int) -> tuple[Matrix, Matrix]:
    """Matrices (2 * patch, 2 * patch) that weight the frequencies of both channels, and their inverses."""
    index = np.arange(patch)
    cosines = np.cos(np.pi * (index + 0.5) * index[:, None] / patch) * np.sqrt(2 / patch)
    cosines[0] *= 0.5**0.5
    hertz = np.maximum(index / patch * rate / 2, MIN_HZ)
    weight = (hertz / REFERENCE_HZ) ** power
    forward = cosines.T @ (weight[:, None] * cosines)
    backward = cosines.T @ (cosines / weight[:, None])
    both = np.eye(2)
    return np.kron(both, forward), np.kron(both, backward)
