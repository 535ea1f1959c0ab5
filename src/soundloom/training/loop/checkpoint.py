"""Write and read training states and weights: atomically, with a checksum, and with errors that name damaged files.

torch writes a zip archive but checks none of its checksums when reading. The sha256 of the file is therefore stored in
the archive's comment, which `torch.load` ignores.
"""

from __future__ import annotations

import hashlib
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from soundloom.atomic import atomic_file
from soundloom.datasets.examples import read_small_file
from soundloom.errors import SoundloomError, TrainingError, printable, shown
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json

STATE_FILE = "state.pt"

# What readers of pickles, archives and tensors raise for damaged files.
_DAMAGE = (
    *(RuntimeError, EOFError, UnpicklingError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, struct.error, zipfile.BadZipFile, SoundloomError),
)
_DIGEST_BYTES = 64  # hexadecimal digits of a sha256
_COMMENT_LENGTH = _DIGEST_BYTES.to_bytes(2, "little")  # the last field of an archive, before its comment


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state that `torch.load` reads. Raises WriteError, also when the disk is full."""
    with atomic_file(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            # torch's zip writer hides the system's error behind a RuntimeError.
            reason = error.__cause__ or error.__context__
            raise reason if isinstance(reason, OSError) else OSError(str(error).partition("\n")[0]) from error
        file.seek(-len(_COMMENT_LENGTH), 2)
        file.write(_COMMENT_LENGTH)
        file.write(_digest(file))


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of a run. Raises TrainingError."""
    with named_damage(path, "it is damaged; remove it to start over"):
        state: dict[str, Any] = _load(path)
        kinds = {"step": int, "module": dict, "auxiliary": dict, "ema": dict, "optimizer": dict}
        is_state = isinstance(state, dict) and all(isinstance(state.get(name), kind) for name, kind in kinds.items())
        if not is_state or state["step"] < 0:
            raise ValueError("it is not the state of a training run")
        _require_tensors(state["module"])
        _require_tensors(state["ema"])
    return state


def read_weights(path: Path, stage: str) -> dict[str, Tensor]:
    """Read the weights of a finished stage. Raises TrainingError."""
    with named_damage(path, f"it is damaged; soundloom train {stage} --restart replaces it"):
        weights: dict[str, Tensor] = _load(path)
        _require_tensors(weights)
    return weights


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load the weights of a file into a module. Raises TrainingError where they belong to another model."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(
            f"{printable(path)} belongs to another model: {shown(str(error).splitlines()[-1].strip())}",
            "choose another --work folder, or restore the sizes in the recipe",
        ) from error


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object of a run directory; None where there is no file. Raises TrainingError."""
    if not path.is_file():
        return None
    with named_damage(path, "it is damaged; restore it, or choose another --work folder"):
        found = decode_json(read_small_file(path), MAX_RECORD_BYTES)
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, not an object")
    return found


@contextmanager
def named_damage(path: Path, hint: str) -> Iterator[None]:
    """Turn any exception of reading a damaged file into a TrainingError that names the file."""
    try:
        yield
    except _DAMAGE as error:
        reason = error.args[0] if isinstance(error, SoundloomError) else str(error).strip() or type(error).__name__
        if str(reason).startswith(f"{path} "):
            reason = f"it {str(reason).removeprefix(f'{path} ')}"
        raise TrainingError(f"{printable(path)} cannot be read: {shown(str(reason).splitlines()[0])}", hint) from error


def _require_tensors(weights: Any) -> None:
    is_named = isinstance(weights, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    )
    if not is_named:
        raise ValueError("it holds something other than named weights")


def _load(path: Path) -> Any:
    """Load what `save_state` wrote. torch compresses nothing; a compressed archive could inflate to any size."""
    with path.open("rb") as file:
        file.seek(-_DIGEST_BYTES, 2)
        if file.read() != _digest(file, _DIGEST_BYTES):
            raise ValueError("its sha256 is not the one that was written")
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of in damaged files is raised as an error anyway
        return torch.load(path, weights_only=True, map_location="cpu")


def _digest(file: BinaryIO, skip_last: int = 0) -> bytes:
    """Return the sha256 of a file without its last bytes, in hexadecimal digits; leave the position at its end."""
    left = file.seek(0, 2) - skip_last
    file.seek(0)
    digest = hashlib.sha256()
    while left and (block := file.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    file.seek(0, 2)
    return digest.hexdigest().encode()
