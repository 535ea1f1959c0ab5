"""Tell the forms of adapters apart by the contents of files, never by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.checkpoints.formats.safetensors import read_safetensors, read_safetensors_and_metadata
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import (
    ConfigError,
    CorruptFileError,
    MismatchError,
    ModelNotFoundError,
    RequestError,
    SoundloomError,
)
from soundloom.lora.files.beside import config_beside
from soundloom.lora.files.configuration import decode_config
from soundloom.lora.files.lowrank import is_kohya, is_low_rank
from soundloom.lora.files.native import is_native, is_wrapped, native_layers, wrapped_layers
from soundloom.lora.files.parts import BASES_HINT, NotAnAdapterError, Parts, mismatch, not_an_adapter, some
from soundloom.temporary import is_temporary
from soundloom.untrusted.json import read_json

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")  # of files that are considered in folders
PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
RUN_RECORD = "run.json"  # in the folder of a training run
_RUN_STATES = ("state.pt", "state.safetensors")  # of the optimizer, in such a folder
_SAVED = re.compile(r"(?P<name>.+)-step=(?P<step>\d+)-epoch=\d+\.safetensors")  # by a training run
_MODEL_CONFIG = "model_config.json"
_EXTRACT = "if it is a model that was trained further, make an adapter of it: soundloom lora extract TUNED BASE"
_CONFIG_KEY = "lora_config"
_ZIP = b"PK\x03\x04"  # begins files of torch.save, whatever their names
_LENGTH_BYTES = 8  # of the header of safetensors, which begins with a brace
_FORMS = "known forms: safetensors, .ckpt and .pt of torch.save, .gguf of sa3.cpp, and PEFT folders"


def read_parts(path: Path, ema: bool = False) -> Parts:
    """Return the contents of an adapter file or folder.

    Raises ModelNotFoundError, RequestError for folders with several, CorruptFileError or MismatchError.
    """
    if not (path.is_file() or path.is_dir()):
        raise ModelNotFoundError(f"there is no adapter {path}")
    try:
        return _read_folder(path) if path.is_dir() else _read_file(path, ema)
    except OSError as error:
        raise CorruptFileError(f"{path} cannot be read: {error.strerror or error}") from error


def adapters_in(folder: Path) -> list[Path]:
    """Return the files and PEFT folders directly in a folder that hold adapters, damaged ones included."""
    try:
        return [path for path in sorted(folder.iterdir()) if _may_be_adapter(path)]
    except PermissionError:
        return []


def _may_be_adapter(path: Path) -> bool:
    if path.is_dir():
        return (path / PEFT_CONFIG).is_file()
    if path.suffix not in SUFFIXES or is_temporary(path) or not path.is_file():
        return False
    if path.name in _RUN_STATES and (path.parent / RUN_RECORD).is_file():
        return False
    try:
        _read_file(path, ema=False)
    except NotAnAdapterError:
        return False
    except (SoundloomError, OSError):
        return True
    return True


def _read_folder(folder: Path) -> Parts:
    """Read a folder of PEFT, or one that holds a single adapter."""
    if (folder / PEFT_CONFIG).is_file():
        return _read_peft_folder(folder)
    files = adapters_in(folder)
    if not files:
        if (folder / _MODEL_CONFIG).is_file():
            raise not_an_adapter(folder, "holds a model, not an adapter", _EXTRACT)
        raise ModelNotFoundError(f"there is no adapter in {folder}", _FORMS)
    if len(files) > 1:
        if last := _last_of_run(folder, files):
            return read_parts(last)
        names = some((path.name for path in files), 8)
        raise RequestError(f"{folder} holds {len(files)} adapters: {names}", "name one of them")
    return read_parts(files[0])


def _last_of_run(folder: Path, files: Sequence[Path]) -> Path | None:
    """Return the adapter with the most steps if the folder is that of one training run; averages do not count."""
    saved = [match for path in files if (match := _SAVED.fullmatch(path.name))]
    names = {match["name"] for match in saved}
    names -= {f"{name}-ema" for name in names}
    if not (folder / RUN_RECORD).is_file() or len(saved) < len(files) or len(names) != 1:
        return None
    last = max((match for match in saved if match["name"] in names), key=lambda match: int(match["step"]))
    return folder / last[0]


def _read_peft_folder(folder: Path) -> Parts:
    from soundloom.lora.files.peft import read_peft

    try:
        config = read_json(folder / PEFT_CONFIG)
    except ConfigError as error:
        raise MismatchError(str(error.args[0])) from error
    path = next((folder / name for name in PEFT_WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise ModelNotFoundError(f"{folder} has {PEFT_CONFIG}, but no {PEFT_WEIGHTS[0]}", "copy it there too")
    if path.suffix == ".safetensors":
        return read_peft(folder, read_safetensors(path), config)
    from soundloom.lora.files.pickled import read_pickled, require_own_bytes

    found = read_pickled(path)
    require_own_bytes(path, found.tensors)
    return read_peft(folder, found.tensors, config)


def _read_file(path: Path, ema: bool) -> Parts:
    if path.name in PEFT_WEIGHTS and (path.parent / PEFT_CONFIG).is_file():
        return _read_peft_folder(path.parent)
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES + 1)
    if start.startswith(b"GGUF"):
        from soundloom.lora.files.gguf import read_gguf_adapter

        return read_gguf_adapter(path)
    if start[_LENGTH_BYTES:] == b"{" or (path.suffix == ".safetensors" and not start.startswith(_ZIP)):
        tensors, metadata = read_safetensors_and_metadata(path)
        return _read_tensors(path, tensors, metadata, None, ema)
    if start.startswith((b"PK", b"\x80")):
        return _read_pickle(path, ema)
    raise CorruptFileError(f"{path} is not an adapter in a known form", _FORMS)


def _read_pickle(path: Path, ema: bool) -> Parts:
    from soundloom.lora.files.pickled import read_pickled, require_own_bytes

    _reject_archive(path)
    found = read_pickled(path)
    parts = _read_tensors(path, found.tensors, {}, found.config, ema, is_training=found.is_training)
    own = {f"{layer}.{kind}": tensor for layer, kinds in parts.layers.items() for kind, tensor in kinds.items()}
    require_own_bytes(path, own)
    return replace(parts, form="ckpt") if parts.form == "native" else parts


def _reject_archive(path: Path) -> None:
    """Raise MismatchError for an archive of files, as services offer for download."""
    from soundloom.checkpoints.formats.zip import ZipArchive

    try:
        members = ZipArchive(path).members
    except ValueError:  # reported by the reader of pickles
        return
    inside = [name for name in members if name.endswith(SUFFIXES)]
    if inside and not any(name.endswith("/data.pkl") for name in members):
        raise mismatch(path, f"is an archive that holds {some(inside)}", "unpack it, and name the folder")


def _read_tensors(
    path: Path,
    tensors: Mapping[str, LazyTensor],
    metadata: Mapping[str, str],
    config: Mapping[str, Any] | None,
    ema: bool,
    *,
    is_training: bool = False,
) -> Parts:
    """Return the adapter in tensors with the keys of any form. Raises MismatchError."""
    if is_native(tensors):
        if _CONFIG_KEY in metadata:
            config = decode_config(path, metadata[_CONFIG_KEY])
        config = config_beside(path) if config is None else config
        others = {key: value for key, value in metadata.items() if key != _CONFIG_KEY}
        if is_training or is_wrapped(tensors):
            layers, notices = wrapped_layers(path, tensors, ema)
            return Parts(path, "ckpt", layers, config, others, notices=notices)
        return Parts(path, "native", native_layers(path, tensors), config, others)
    if is_low_rank(tensors):
        if is_kohya(tensors):
            from soundloom.lora.files.kohya import read_kohya

            return read_kohya(path, tensors)
        from soundloom.lora.files.peft import metadata_config, read_peft

        return read_peft(path, tensors, metadata_config(path, metadata))
    raise _not_an_adapter(path, tensors)


def _not_an_adapter(path: Path, tensors: Mapping[str, LazyTensor]) -> MismatchError:
    similar = [key for key in tensors if "lora" in key.lower()]
    if similar:
        return mismatch(path, f"has keys of no known kind of adapter: {some(similar)}", _FORMS)
    if any(key.endswith((".U", ".V")) for key in tensors):
        return not_an_adapter(path, "is a file of singular vectors, not an adapter", BASES_HINT)
    return not_an_adapter(path, f"holds weights of a model, not an adapter: {some(tensors)}", _EXTRACT)
