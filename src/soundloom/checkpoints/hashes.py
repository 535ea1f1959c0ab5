"""Write and check `sha256.json`, which records the sha256 of a model's files and of their tensors.

`models verify` compares the hashes; opening a model does not, so it stays fast. Hashes of tensors tell which tensor of
a damaged file is damaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from soundloom.atomic import write_json
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, evict_tensor
from soundloom.errors import CorruptFileError, SoundloomError, shown
from soundloom.temporary import is_temporary
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json

HASHES_FILE = "sha256.json"
_READERS = {".safetensors": read_safetensors, ".npz": read_npz}
_MAX_DEPTH = 2  # folder levels between a file and the hashes of its model
_WITHOUT = "remove it to use the model without hashes"


def write_hashes(folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write `sha256.json` for all files of a finished model folder. `provenance` is the command and its options."""
    files = {path.relative_to(folder).as_posix(): _describe(path) for path in _files(folder)}
    write_json(folder / HASHES_FILE, {**({"made": dict(provenance)} if provenance else {}), "files": files})


def is_result_of(folder: Path, provenance: Mapping[str, Any]) -> bool:
    """Whether a folder is the complete, undamaged result of the command in `provenance`, without other files."""
    try:
        table = _read(folder / HASHES_FILE)
        if table is None or table.get("made") != provenance:
            return False
        names = {path.relative_to(folder).as_posix() for path in _files(folder)}
        return names == set(table["files"]) and not any(recorded_faults(folder))
    except (SoundloomError, OSError):
        return False


def find_hashes(path: Path) -> Path | None:
    """Return the folder whose `sha256.json` lists a file: its own or the parent.

    Raises CorruptFileError if the one next to the file is damaged; one in the parent may be unrelated.
    """
    name = PurePosixPath(path.name)
    for depth, folder in enumerate(list(path.absolute().parents)[:_MAX_DEPTH]):
        try:
            table = _read(folder / HASHES_FILE)
        except CorruptFileError:
            if depth == 0:
                raise
            continue
        if table is not None and str(name) in table["files"]:
            return folder
        name = folder.name / name
    return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded_faults(folder: Path, sha256: Callable[[Path], str] = sha256_of) -> Iterator[str]:
    """Yield a sentence for each file or tensor that differs from `sha256.json` of a folder."""
    table = _read(folder / HASHES_FILE)
    for name, recorded in (table["files"] if table else {}).items():
        path = folder / name
        if not isinstance(recorded, dict) or Path(name).is_absolute() or ".." in Path(name).parts:
            yield f"{folder / HASHES_FILE} has a damaged record of {shown(name)}"
        elif not path.is_file():
            yield f"{path} is missing"
        elif sha256(path) != recorded.get("sha256"):
            yield from _locate(path, recorded.get("tensors"))


def _files(folder: Path) -> list[Path]:
    """Return the files to hash: all except `sha256.json` and temporary files."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / HASHES_FILE)
    return [path for path in found if not is_temporary(path)]


def _describe(path: Path) -> dict[str, Any]:
    described: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    if reader := _READERS.get(path.suffix):
        described["tensors"] = {name: _digest(tensor) for name, tensor in reader(path).items()}
    return described


def _digest(tensor: LazyTensor) -> str:
    digest = hashlib.sha256(tensor.data().data).hexdigest()
    evict_tensor(tensor)
    return digest


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            table = decode_json(file.read(MAX_RECORD_BYTES + 1), MAX_RECORD_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path} cannot be read: {shown(str(error))}", _WITHOUT) from error
    if not isinstance(table, dict) or not isinstance(table.get("files"), dict):
        raise CorruptFileError(f"{path} does not list files with their sha256", _WITHOUT)
    return table


def _locate(path: Path, recorded: Any) -> Iterator[str]:
    """Yield which tensors of a damaged file are damaged, or that the damage is outside its tensors."""
    known = recorded if isinstance(recorded, dict) else {}
    reader = _READERS.get(path.suffix)
    try:
        tensors = reader(path) if reader else {}
        damaged = [name for name, digest in known.items() if name not in tensors or _digest(tensors[name]) != digest]
    except SoundloomError as error:
        yield f"{path} is damaged: {error.args[0]}"
        return
    for name in damaged:
        yield f"{shown(name)} of {path} is damaged: its sha256 differs from the recorded one"
    if not damaged:
        where = "outside its tensors, or was replaced" if known else "or was replaced"
        yield f"{path} is damaged {where}: its sha256 differs from the recorded one"
