"""Read an adapter in any form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from soundloom.errors import RequestError
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.assemble import assemble
from soundloom.lora.files.beside import hints_beside
from soundloom.lora.files.detect import read_parts


def read_adapter(path: Path, *, exclude: Sequence[str] = (), ema: bool = False) -> Adapter:
    """Return the adapter in a file or folder, without the layers that the patterns `exclude` match.

    `ema` takes the moving average of a training checkpoint that holds both. Tensors stay in the file until they are
    used, but all are checked. Raises ModelNotFoundError, CorruptFileError, MismatchError or RequestError.
    """
    parts = read_parts(Path(path), ema)
    if ema and parts.form != "ckpt":
        raise RequestError(f"{path} holds no moving average of its adapter", "read it without ema")
    return assemble(replace(parts, hints={**hints_beside(parts.path), **parts.hints}), exclude)
