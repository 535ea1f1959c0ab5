"""The embeddings beside a report, from which sets are compared without their sounds.

`embeddings.safetensors` has, for each embedder, `NAME.vectors` (n, d) float32, `NAME.clips` (n,) the index of each
vector's clip in the report's `clips`, and the reference: `NAME.reference.mean` (d,), `.covariance` (d, d), `.count`,
and where they are known `.bandwidth` and `.vectors` (m, d).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import ConfigError, printable
from soundloom.evaluation.distances.moments import Moments

EMBEDDINGS_FILE = "embeddings.safetensors"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StoredReference:
    """A reference: its moments and, where they are known, the bandwidth of KAD and its vectors (m, d)."""

    moments: Moments
    bandwidth: float | None = None
    vectors: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class StoredEmbeddings:
    """Vectors (n, d) of a report's clips; `clips` (n,) are the clips' indices in the report."""

    vectors: NDArray[np.float32]
    clips: NDArray[np.int64]
    reference: StoredReference


def write_embeddings(folder: str | Path, embeddings: Mapping[str, StoredEmbeddings]) -> None:
    """Write the embeddings of a report to its folder, by the names of embedders. Raises WriteError."""
    tensors: dict[str, ArrayLike] = {}
    for name, one in embeddings.items():
        moments = one.reference.moments
        tensors[f"{name}.vectors"] = np.asarray(one.vectors, np.float32)
        tensors[f"{name}.clips"] = np.asarray(one.clips, np.int64)
        tensors[f"{name}.reference.mean"] = moments.mean
        tensors[f"{name}.reference.covariance"] = moments.covariance
        tensors[f"{name}.reference.count"] = np.array([moments.count], np.int64)
        if one.reference.bandwidth is not None:
            tensors[f"{name}.reference.bandwidth"] = np.array([one.reference.bandwidth])
        if one.reference.vectors is not None:
            tensors[f"{name}.reference.vectors"] = np.asarray(one.reference.vectors, np.float32)
    stored = (from_array(name, np.ascontiguousarray(tensor)) for name, tensor in tensors.items())
    write_safetensors(Path(folder) / EMBEDDINGS_FILE, stored, {"format": "1"})


def read_embeddings(folder: str | Path) -> dict[str, StoredEmbeddings]:
    """Read the embeddings of a report's folder; empty if there are none. Raises ConfigError, CorruptFileError."""
    path = Path(folder) / EMBEDDINGS_FILE
    if not path.is_file():
        return {}
    arrays = {name: tensor.numpy() for name, tensor in read_safetensors(path).items()}
    names = [name.removesuffix(".clips") for name in arrays if name.endswith(".clips")]
    try:
        return {name: _stored(name, arrays) for name in names}
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigError(f"{printable(path)} lacks a part of its embeddings: {error}") from error


def _stored(name: str, arrays: Mapping[str, NDArray]) -> StoredEmbeddings:
    count = int(arrays[f"{name}.reference.count"].ravel()[0])
    covariance = arrays[f"{name}.reference.covariance"]
    moments = Moments(count, arrays[f"{name}.reference.mean"], covariance * (count - 1))
    bandwidth = arrays.get(f"{name}.reference.bandwidth")
    vectors, clips = arrays[f"{name}.vectors"], arrays[f"{name}.clips"]
    if len(vectors) != len(clips) or covariance.shape != (vectors.shape[1],) * 2:
        raise ValueError(f"shapes of {name} do not fit")
    return StoredEmbeddings(
        vectors,
        clips,
        StoredReference(
            moments,
            None if bandwidth is None else float(bandwidth.ravel()[0]),
            arrays.get(f"{name}.reference.vectors"),
        ),
    )
