"""Adapters in `torch.save` files, which the published trainer writes, read without PyTorch and without running code.

A native file is `{state_dict, lora_config}`, and may name only what rebuilds tensors. Training checkpoints of
Lightning hold optimizer states and more: what they name besides is never looked up, and accepted only under keys that
are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.formats.unpickler import UnknownObject
from soundloom.errors import CorruptFileError, shown
from soundloom.lora.files.parts import BASES_HINT, mismatch, not_an_adapter, some

_ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.UntypedStorage",
    "torch.storage.UntypedStorage",
}
# Honest files never name these; a file that does is rejected as a whole, whatever the key.
_DANGEROUS = {
    *("os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "pty", "shutil", "socket", "ctypes"),
    *("pickle", "_pickle", "marshal", "code", "codeop", "operator", "_operator", "webbrowser", "pip", "pdb"),
}
_BUILTINS = ("builtins", "__builtin__")
_PLAIN_BUILTINS = {
    *("set", "frozenset", "list", "dict", "tuple", "int", "float", "complex", "str", "bytes", "bytearray"),
    *("bool", "slice", "range", "object"),
}

STATE, CONFIG = "state_dict", "lora_config"
# Any of these marks a training checkpoint.
_TRAINING = {
    "pytorch-lightning_version",
    "optimizer_states",
    "lr_schedulers",
    "loops",
    "callbacks",
    "global_step",
    "epoch",
    "hyper_parameters",
}
_MAX_DEPTH, _MAX_VALUES = 16, 10_000  # of a configuration
_SAFE = "save its tensors as safetensors, or ask its author to"


@dataclass(frozen=True)
class Pickled:
    """The contents of a pickle that matter. `is_training` says that it is a training checkpoint, or a whole model."""

    tensors: Mapping[str, LazyTensor]
    config: Mapping[str, Any] | None
    is_training: bool


def read_pickled(path: Path) -> Pickled:
    """Return tensors and configuration of a `torch.save` file. Raises CorruptFileError, or MismatchError."""
    named: set[str] = set()

    def check(name: str) -> None:
        module, _, attribute = name.partition(".")
        if module in _DANGEROUS or (module in _BUILTINS and attribute not in _PLAIN_BUILTINS):
            what = f"names {shown(name)}, as malicious files do; nothing of it was run"
            raise CorruptFileError(f"{path} {what}", "delete it; other programs may run what it names")
        named.add(name)

    data = read_pickle(path, check)
    if not isinstance(data, dict):
        raise not_an_adapter(path, "is not a dictionary of tensors")
    is_training = bool(_TRAINING & data.keys())
    if not is_training and named - _ALLOWED:
        what = f"names {some(sorted(named - _ALLOWED))}, which no adapter needs; nothing of it was run"
        raise CorruptFileError(f"{path} {what}", _SAFE)
    state = data.get(STATE, {key: value for key, value in data.items() if key != CONFIG})
    if not isinstance(state, dict):
        raise mismatch(path, f"has a {STATE} that is not a dictionary of tensors")
    _reject_bases(path, state)
    others = [key for key, value in state.items() if not (isinstance(value, LazyTensor) and isinstance(key, str))]
    if others:
        raise _not_a_tensor(path, others[0], state[others[0]])
    config = data.get(CONFIG)
    if config is not None and not isinstance(config, dict):
        raise mismatch(path, f"has a {CONFIG} that is not a dictionary")
    return Pickled(tensors_of(state, str(path)), config and _plain(path, config), is_training)


def require_own_bytes(path: Path, tensors: Mapping[str, LazyTensor]) -> None:
    """Raise CorruptFileError if tensors are larger than the file: many that share one storage could exceed memory."""
    total, size = sum(tensor.nbytes for tensor in tensors.values()), path.stat().st_size
    if total > size:
        raise CorruptFileError(f"{path} has tensors of {total} bytes in a file of {size}: they share storages", _SAFE)


def _not_a_tensor(path: Path, key: Any, value: Any) -> Exception:
    if isinstance(value, UnknownObject):
        what = f"names {shown(value.name)} in its {STATE}, which is not a tensor; nothing of it was run"
        return CorruptFileError(f"{path} {what}", _SAFE)
    name = shown(key) if isinstance(key, str) else "a key"
    return mismatch(path, f"holds {name} in its {STATE}, which is not a tensor")


def _reject_bases(path: Path, state: Mapping[Any, Any]) -> None:
    if any(isinstance(value, dict) and {"U", "V"} <= value.keys() for value in state.values()):
        raise not_an_adapter(path, "is a file of singular vectors, not an adapter", BASES_HINT)


def _plain(path: Path, config: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a configuration of plain values, with lists for tuples."""
    left = _MAX_VALUES  # a small pickle can describe a huge tree, since it may refer to a value many times

    def convert(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > _MAX_DEPTH or left < 0:
            limits = f"more than {_MAX_VALUES} values, or deeper than {_MAX_DEPTH}"
            raise CorruptFileError(f"{path} has a {CONFIG} that is too large: {limits}", _SAFE)
        if isinstance(value, dict):
            return {str(key): convert(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [convert(item, depth + 1) for item in value]
        if value is None or isinstance(value, str | int | float):
            return value
        name = value.name if isinstance(value, UnknownObject) else type(value).__name__
        raise CorruptFileError(f"{path} has a {CONFIG} that holds {shown(name)}, not a plain value", _SAFE)

    return {str(key): convert(value, 1) for key, value in config.items()}
