"""Read an adapter in any form: the contents of the file decide, never its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from soundloom.checkpoints.formats.safetensors import read_safetensors_and_metadata
from soundloom.errors import ModelNotFoundError
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.assemble import assemble
from soundloom.lora.files.beside import hints_beside
from soundloom.lora.files.native import is_native, read_native
from soundloom.lora.files.parts import Parts, mismatch, some

FORMS = "known forms: safetensors, .ckpt, .gguf, and folders of PEFT"


def read_adapter(path: Path, *, exclude: Sequence[str] = (), ema: bool = False) -> Adapter:
    """Return the adapter in a file or folder, without the layers that the patterns `exclude` match.

    `ema` takes the averaged weights of a training checkpoint that holds both. Tensors stay in the file until they are
    used, but all are checked. Raises ModelNotFoundError, CorruptFileError, MismatchError or RequestError.
    """
    path = Path(path)
    parts = _read(path, ema)
    return assemble(replace(parts, hints={**hints_beside(parts.path), **parts.hints}), exclude)


def _read(path: Path, ema: bool) -> Parts:
    if not path.exists():
        raise ModelNotFoundError(f"there is no adapter {path}")
    return _read_safetensors(path)


def _read_safetensors(path: Path) -> Parts:
    tensors, metadata = read_safetensors_and_metadata(path)
    if is_native(tensors):
        return read_native(path, tensors, metadata)
    raise mismatch(path, f"is not an adapter: {some(tensors)}")


def read(path: str | Path, *, exclude: Sequence[str] = (), ema: bool = False) -> Adapter:
    return read_adapter(Path(path), exclude=exclude, ema=ema)
