"""The file of embeddings beside a report, from which distances of two reports are compared.

`embeddings.safetensors` holds `vectors` (n, d) in float32, `clips` (n,) with the number of each row's clip, and the
reference: `reference.mean`, `reference.covariance`, `reference.count`, `reference.bandwidth`, and its rows as
`reference.vectors` if they were at hand. Its metadata has the ids of clips, the recipe and the embedder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.checkpoints.formats.safetensors import read_safetensors_and_metadata, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import CheckpointError, CorruptFileError, printable
from soundloom.evaluation.distances.moments import Moments

FILE = "embeddings.safetensors"


@dataclass(frozen=True)
class ReferenceRows:
    """What distances need of a reference: moments, the bandwidth of the kernel, and rows (n, d) if they are at hand."""

    moments: Moments
    bandwidth: float
    rows: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class StoredEmbeddings:
    """Rows (n, d) that a distance compares, the number of the clip of each in `ids`, and the reference."""

    rows: NDArray[np.float64]
    clips: NDArray[np.int64]
    ids: tuple[str, ...]
    reference: ReferenceRows
    embedder: str
    recipe: str  # name


def write_embeddings(folder: Path, stored: StoredEmbeddings) -> Path:
    """Write the file into a report's folder. Raises WriteError."""
    reference = stored.reference
    arrays: dict[str, Any] = {
        "vectors": stored.rows.astype(np.float32),
        "clips": stored.clips.astype(np.int64),
        "reference.mean": reference.moments.mean,
        "reference.covariance": reference.moments.covariance,
        "reference.count": np.array([reference.moments.count], np.int64),
        "reference.bandwidth": np.array([reference.bandwidth], np.float64),
    }
    if reference.rows is not None:
        arrays["reference.vectors"] = reference.rows.astype(np.float32)
    metadata = {"ids": json.dumps(stored.ids), "embedder": stored.embedder, "recipe": stored.recipe}
    write_safetensors(folder / FILE, [from_array(name, array) for name, array in arrays.items()], metadata)
    return folder / FILE


def read_embeddings(folder: Path) -> StoredEmbeddings | None:
    """Read the file of a report's folder; None if there is none. Raises CorruptFileError."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_safetensors_and_metadata(path)
        arrays = {name: np.array(tensor.numpy()) for name, tensor in tensors.items()}
        count = int(arrays["reference.count"][0])
        moments = Moments(count, arrays["reference.mean"], arrays["reference.covariance"] * (count - 1))
        rows = arrays.get("reference.vectors")
        return StoredEmbeddings(
            arrays["vectors"].astype(np.float64),
            arrays["clips"],
            tuple(json.loads(metadata["ids"])),
            ReferenceRows(
                moments, float(arrays["reference.bandwidth"][0]), None if rows is None else rows.astype(float)
            ),
            metadata["embedder"],
            metadata["recipe"],
        )
    except (OSError, ValueError, LookupError, TypeError, CheckpointError) as error:
        raise CorruptFileError(f"{printable(path)} is damaged: {error}", "measure the set again") from error
