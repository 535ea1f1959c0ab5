"""Open `.npy` files without a copy of what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, MappedFile
from soundloom.errors import CorruptFileError
from soundloom.untrusted.npy import npy_array


def read_npy(path: Path) -> Array:
    """The array of a `.npy` file, mapped, not copied. Raises CorruptFileError."""
    file = MappedFile(path)
    try:
        return npy_array(file.read(0, file.size) if file.size else np.empty(0, np.uint8))
    except ValueError as error:
        raise CorruptFileError(f"{path} is not an array: it {error}", "latents are a .npy file of numbers") from error
