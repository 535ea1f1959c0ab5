"""Keep adapters that clients send: only safetensors, and only those that the reader of adapters accepts."""

from __future__ import annotations

import shutil
from pathlib import Path

from soundloom.atomic import make_folder, name_in_errors, write_errors
from soundloom.checkpoints.hashes import sha256_of
from soundloom.errors import RequestError, shown
from soundloom.folders import loras_folder
from soundloom.lora.files.read import read_adapter
from soundloom.serving.display_names import display_name

SUFFIX = ".safetensors"
LENGTH_BYTES = 8  # before the header, which is JSON


def keep_adapter(path: Path, name: str) -> str:
    """Copy a received file into the folder of adapters unless it is there, and return the adapter's name.

    Raises RequestError or CheckpointError for what is no adapter, or WriteError.
    """
    stem = _stem(name)
    _require_adapter(path, name)
    folder, digest = loras_folder(), sha256_of(path)
    make_folder(folder)
    number = 1
    while (target := folder / f"{stem}{'' if number == 1 else f'-{number}'}{SUFFIX}").exists():
        if sha256_of(target) == digest:
            return target.stem
        number += 1
    part = folder / f"{target.name}.part"
    with write_errors(target):
        try:
            shutil.copyfile(path, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target.stem


def _stem(name: str) -> str:
    """Return the name of a file without its suffix. Raises RequestError for other files."""
    kept = display_name(name)
    stem = kept.removesuffix(SUFFIX).strip(". ")
    if kept == stem or not stem:
        raise RequestError(f"{shown(name)} is not a safetensors file", "convert it first: soundloom lora convert")
    return stem


def _require_adapter(path: Path, name: str) -> None:
    """Raise RequestError or CheckpointError for a file that is no adapter, by the name that its sender knows."""
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES + 1)
    if start[LENGTH_BYTES:] != b"{":
        raise RequestError(f"{shown(name)} is not a safetensors file", "choose the file of an adapter")
    with name_in_errors(path, display_name(name)):
        read_adapter(path)
