"""The state of a run on MLX: parameters, moments and their average in a file, with a checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.safetensors import read_safetensors_and_metadata, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import CheckpointError, TrainingError, printable

STATE_FILE = "state.safetensors"
_VECTORS = ("parameters", "first", "second", "ema")


@dataclass(frozen=True)
class SavedState:
    """Vectors of all tensors of an adapter; `layout` describes where each tensor lies."""

    step: int
    layout: str
    parameters: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ema: np.ndarray


def save_state(path: Path, state: SavedState) -> None:
    """Write a state; the file before is replaced at once."""
    tensors = [from_array(name, getattr(state, name)) for name in _VECTORS]
    metadata = {"step": str(state.step), "layout": state.layout}
    metadata["sha256"] = _digest(metadata, (getattr(state, name) for name in _VECTORS))
    write_safetensors(path, tensors, metadata)


def read_state(path: Path) -> SavedState:
    """Read a state. Raises TrainingError for a damaged file."""
    try:
        tensors, metadata = read_safetensors_and_metadata(path)
        arrays = {name: np.array(tensors[name].numpy()) for name in _VECTORS}
        about = {name: metadata[name] for name in ("step", "layout")}
        if metadata["sha256"] != _digest(about, arrays.values()):
            raise CheckpointError(f"{printable(path)}: its sha256 is not the one that was written")
        return SavedState(int(about["step"]), about["layout"], **arrays)
    except (CheckpointError, KeyError, ValueError, OSError) as error:
        reason = error.args[0] if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
        raise TrainingError(
            f"{printable(path)} cannot be read: {reason}", "it is damaged; remove it to start over"
        ) from error


def _digest(about: dict[str, str], arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256(repr(sorted(about.items())).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
