"""Read what stages left in a work folder: what is damaged is named in one sentence, with what to do."""

from __future__ import annotations

import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from soundloom.datasets.examples import read_small_file
from soundloom.errors import SoundloomError, TrainingError, printable, shown
from soundloom.training.loop.saving import require_digest
from soundloom.untrusted.json import LONGEST_RECORD, decode_json

# What readers of pickles, archives and tensors raise on damage.
DAMAGE = (
    *(RuntimeError, EOFError, UnpicklingError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, struct.error, zipfile.BadZipFile, SoundloomError),
)


@contextmanager
def damage_named(path: Path, hint: str) -> Iterator[None]:
    """Turn what the block raises over a damaged file into a TrainingError that names it."""
    try:
        yield
    except DAMAGE as error:
        reason = error.args[0] if isinstance(error, SoundloomError) else str(error).strip() or type(error).__name__
        if str(reason).startswith(f"{path} "):
            reason = f"it {str(reason).removeprefix(f'{path} ')}"
        raise TrainingError(f"{printable(path)} cannot be read: {shown(str(reason).splitlines()[0])}", hint) from error


def read_state(path: Path) -> dict[str, Any]:
    """The state that a run left. Raises TrainingError."""
    with damage_named(path, "it is damaged; remove it to begin anew"):
        state: dict[str, Any] = _load(path)
        kinds = {"step": int, "module": dict, "ema": dict, "optimizer": dict}
        if not isinstance(state, dict) or not all(isinstance(state.get(name), kind) for name, kind in kinds.items()):
            raise ValueError("it is no state of a training run")
        if state["step"] < 0 or not isinstance(state.get("auxiliary", {}), dict):
            raise ValueError("it is no state of a training run")
        _require_tensors(state["module"])
        _require_tensors(state["ema"])
    return state


def read_weights(path: Path, command: str) -> dict[str, Tensor]:
    """The weights that a finished stage left. Raises TrainingError, which names the command that makes them anew."""
    with damage_named(path, f"it is damaged; soundloom train {command} --restart makes it anew"):
        weights: dict[str, Tensor] = _load(path)
        _require_tensors(weights)
    return weights


def fill(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Give a module the weights of a file. Raises TrainingError where they are of another one."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(
            f"{printable(path)} is of another model: {shown(str(error).splitlines()[-1].strip())}",
            "name another work folder, or give the recipe the sizes that it had",
        ) from error


def read_json_object(path: Path) -> dict[str, Any] | None:
    """An object that a stage noted, None where it has noted nothing. Raises TrainingError."""
    if not path.is_file():
        return None
    with damage_named(path, "it is damaged; restore it, or name another work folder"):
        found = decode_json(read_small_file(path), LONGEST_RECORD)
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, not named values")
    return found


def _require_tensors(weights: Any) -> None:
    is_named = isinstance(weights, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    )
    if not is_named:
        raise ValueError("it holds something else than weights by their names")


def _load(path: Path) -> Any:
    """What `torch.save` wrote. PyTorch compresses nothing, so what is compressed may unfold to any size."""
    require_digest(path)
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what damage looks like to PyTorch; what cannot be read is an error
        return torch.load(path, weights_only=True, map_location="cpu")
