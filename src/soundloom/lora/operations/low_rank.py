"""Best low-rank approximations of matrices, and of products of factors, as balanced factors.

Letters: X (out, in) is a matrix; up (out, r) and down (r, in) are factors of up @ down. Balanced factors share the
singular values, so that both have values of similar size and survive half precision.
"""

from __future__ import annotations

import numpy as np

from soundloom.checkpoints.formats.tensors import Array


def best_factors(matrix: Array, rank: int) -> tuple[Array, Array]:
    """Return balanced factors (down, up), float32, of the best approximation of X of at most `rank`.

    Computed from the eigenvectors of the smaller of X'X and XX' in float64, which is exact to about 1e-8 of the
    largest singular value and several times faster than a singular value decomposition.
    """
    x = matrix.astype(np.float64)
    wide = x.shape[0] < x.shape[1]
    gram = x @ x.T if wide else x.T @ x
    _, vectors = np.linalg.eigh(gram)  # eigenvalues ascend
    vectors = vectors[:, ::-1][:, :rank]
    other = (vectors.T @ x).T if wide else x @ vectors  # its columns have the singular values as norms
    roots = np.sqrt(np.linalg.norm(other, axis=0))
    other = np.divide(other, roots, out=np.zeros_like(other), where=roots > 0)
    up, down = (vectors * roots, other.T) if wide else (other, (vectors * roots).T)
    return down.astype(np.float32), up.astype(np.float32)


def singular_values(down: Array, up: Array) -> Array:
    """Return the singular values of up @ down, descending, float64, as many as its rank allows."""
    return np.linalg.svd(_core(down, up)[0], compute_uv=False)


def truncated(down: Array, up: Array, rank: int) -> tuple[Array, Array]:
    """Return balanced factors (down, up), float32, of the best approximation of up @ down of `rank`.

    A QR decomposition of both factors leaves a small matrix of the same singular values.
    """
    core, left, right = _core(down, up)
    u, s, vt = np.linalg.svd(core)
    roots = np.sqrt(s[:rank])
    new_up, new_down = left @ (u[:, :rank] * roots), (roots[:, None] * vt[:rank]) @ right.T
    return new_down.astype(np.float32), new_up.astype(np.float32)


def _core(down: Array, up: Array) -> tuple[Array, Array, Array]:
    """Return a small matrix C and orthonormal Q and P with up @ down = Q C P'."""
    q, r = np.linalg.qr(up.astype(np.float64))
    p, t = np.linalg.qr(down.T.astype(np.float64))
    return r @ t.T, q, p
