"""Read `.npy` files memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, MappedFile
from soundloom.errors import CorruptFileError
from soundloom.untrusted.npy import npy_array


def read_npy(path: Path) -> Array:
    """Return the array of a `.npy` file without a copy. Raises CorruptFileError."""
    file = MappedFile(path)
    try:
        return npy_array(file.read(0, file.size) if file.size else np.empty(0, np.uint8))
    except ValueError as error:
        raise CorruptFileError(
            f"{path} is not a NumPy array: it {error}", "latents are stored as a .npy file"
        ) from error
