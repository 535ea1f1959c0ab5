"""Prepared weights: a loaded network's state in a cache file, memory-mapped by later processes.

Loading a checkpoint in a lower precision reads, checks, rounds and prepacks every weight. The first load on a CPU
writes the result into the cache folder. Later loads map that file: nothing is computed, and no memory is allocated.
Tensors that a network uses as its checkpoint stores them are not written, only named.

The file: 8 bytes of header length, a JSON header, its SHA-256, then the tensors at multiples of 64 bytes. It is used
only if its key matches: the source files, and everything that decides how weights are prepared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.atomic import atomic_file
from soundloom.checkpoints.formats.tensors import LazyTensor, MappedFile, evict
from soundloom.engines.torch.opaque import has_opaque_views, opaque_bytes, opaque_layout, view_opaque
from soundloom.engines.torch.tensors import to_tensor
from soundloom.errors import SoundloomError
from soundloom.folders import cache_folder
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json
from soundloom.version import __version__

log = logging.getLogger(__name__)

FOLDER = "prepared"
MIN_BYTES = 64 << 20  # of stored weights; smaller networks load in a tenth of a second
_ALIGNMENT = 64  # bytes, required by oneDNN
_LENGTH_BYTES, _DIGEST_BYTES = 8, 32
_BLOCK = re.compile(r".*?(layers|transformers)\.\d+(?=\.)")
_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # they change oneDNN's layouts


@dataclass(frozen=True)
class PreparedWeights:
    """The cache file of one network: `name` distinguishes those of a model, `files` are the model's weights."""

    name: str
    files: Sequence[Path]
    fingerprint: str

    @property
    def path(self) -> Path:
        sources = "\n".join(str(file.resolve()) for file in self.files)
        return cache_folder() / FOLDER / f"{self.name}-{hashlib.sha256(sources.encode()).hexdigest()[:16]}.bin"

    def key(self) -> dict[str, Any]:
        """Return what the contents depend on. Raises OSError when a source file is missing."""
        states = [(file.resolve(), file.stat()) for file in self.files]
        return {
            "files": [[str(path), state.st_size, state.st_mtime_ns] for path, state in states],
            "fingerprint": self.fingerprint,
            **_environment(),
        }

    def load(self, module: nn.Module, tensors: Mapping[str, LazyTensor]) -> bool:
        """Replace a module's state by the file's; return False if it is missing, damaged or made from something else.

        `tensors` are the module's stored weights by name. The pages of each transformer block are released after its
        use, and read again from the system's cache: twelve milliseconds for 460 MB.
        """
        try:
            header, file, start = _read(self.path)
            if header["key"] != self.key():
                log.info("%s belongs to other weights or software, and is written again", self.path)
                return False
            state, ranges = _state(module, header, file, start, tensors)
        except FileNotFoundError:
            return False
        except (OSError, SoundloomError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            log.info("%s cannot be used, and is written again: %s", self.path, error)
            return False
        _assign(module, state)
        for path, (begin, end) in ranges.items():
            pages = file.read(start + begin, start + end)
            module.get_submodule(path).register_forward_hook(lambda *_, pages=pages: evict(pages))
        return True

    def save(self, module: nn.Module, tensors: Mapping[str, LazyTensor]) -> bool:
        """Write a module's state; return whether that worked. A full disk must not stop a generation."""
        try:
            _remove_orphans(self.path.parent)
            _write(self.path, self.key(), module, tensors)
        except (OSError, SoundloomError) as error:
            log.info("prepared weights are not kept: %s", error)
            return False
        return True


@cache
def _environment() -> dict[str, str]:
    """Return the software and the processor that prepare weights."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):  # so that no change of a layer needs a new format number
        code.update(path.read_bytes())
    return {
        "soundloom": f"{__version__} {code.hexdigest()}",
        "torch": f"{torch.__version__} {hashlib.sha256(torch.__config__.show().encode()).hexdigest()}",
        "processor": json.dumps(getattr(torch.cpu, "get_capabilities", dict)(), sort_keys=True, default=str),
        "isa": " ".join(os.environ.get(name, "") for name in _ISA_VARIABLES),
        "opaque": str(has_opaque_views()),
    }


def _read(path: Path) -> tuple[dict[str, Any], MappedFile, int]:
    """Return the header, the file, and where its tensors start. Raises OSError or ValueError."""
    file = MappedFile(path)
    if file.size < _LENGTH_BYTES + _DIGEST_BYTES:
        raise ValueError("it is truncated")
    end = _LENGTH_BYTES + int.from_bytes(file.read(0, _LENGTH_BYTES).tobytes(), "little")
    if end > min(file.size - _DIGEST_BYTES, MAX_RECORD_BYTES):
        raise ValueError("its header is damaged")
    text = file.read(_LENGTH_BYTES, end).tobytes()
    if file.read(end, end + _DIGEST_BYTES).tobytes() != hashlib.sha256(text).digest():
        raise ValueError("its header is damaged")
    header = decode_json(text, MAX_RECORD_BYTES)
    start = _aligned(end + _DIGEST_BYTES)
    if file.size != start + header["bytes"]:
        raise ValueError("its size is wrong")
    return header, file, start


def _state(
    module: nn.Module, header: Mapping[str, Any], file: MappedFile, start: int, tensors: Mapping[str, LazyTensor]
) -> tuple[list[tuple[nn.Module, str, str, Tensor | None]], dict[str, tuple[int, int]]]:
    """Return layer, name, kind and value of each tensor, and the range of bytes of each transformer block."""
    layouts = [bytes.fromhex(layout) for layout in header["layouts"]]
    state, ranges = [], dict[str, tuple[int, int]]()
    for path, name, kind, entry in header["state"]:
        tensor = None if entry is None else _tensor(entry, layouts, file, start, tensors)
        state.append((module.get_submodule(path), name, kind, tensor))
        if entry is not None and "begin" in entry and (block := _BLOCK.match(path)):
            begin, end = ranges.get(block[0], (entry["begin"], entry["end"]))
            ranges[block[0]] = min(begin, entry["begin"]), max(end, entry["end"])
    return state, ranges


def _assign(module: nn.Module, state: Sequence[tuple[nn.Module, str, str, Tensor | None]]) -> None:
    for layer in module.modules():
        layer._parameters.clear()
        layer._buffers.clear()
    for layer, name, kind, tensor in state:
        if kind == "parameter":
            layer.register_parameter(name, None if tensor is None else nn.Parameter(tensor, requires_grad=False))
        else:
            layer.register_buffer(name, tensor, persistent=kind == "buffer")


def _tensor(
    entry: Mapping[str, Any],
    layouts: Sequence[bytes],
    file: MappedFile,
    start: int,
    tensors: Mapping[str, LazyTensor],
) -> Tensor:
    if "stored" in entry:
        return to_tensor(tensors[entry["stored"]])
    data = file.read(start + entry["begin"], start + entry["end"])
    dtype, shape = getattr(torch, entry["dtype"]), entry["shape"]
    if entry["layout"] is not None:
        return view_opaque(data, shape, dtype, layouts[entry["layout"]])
    return torch.frombuffer(data, dtype=dtype).view(shape) if data.size else torch.empty(shape, dtype=dtype)


def _write(path: Path, key: Mapping[str, Any], module: nn.Module, tensors: Mapping[str, LazyTensor]) -> None:
    layouts: list[str] = []
    state: list[Any] = []
    parts: list[np.ndarray] = []
    position = 0
    for name, layer in module.named_modules():
        for kind, own in (("parameter", layer._parameters), ("buffer", layer._buffers)):
            for attribute, tensor in own.items():
                entry: dict[str, Any] | None = None
                full = f"{name}.{attribute}".lstrip(".")
                if tensor is not None and _is_stored(tensor, tensors.get(full)):
                    entry = {"stored": full}
                elif tensor is not None:
                    data, layout = _data(tensor), None
                    if tensor.is_mkldnn:
                        text = opaque_layout(tensor).hex()
                        if text not in layouts:
                            layouts.append(text)
                        layout = layouts.index(text)
                    dtype = str(tensor.dtype).removeprefix("torch.")
                    entry = {"begin": position, "end": position + data.size, "dtype": dtype}
                    entry |= {"shape": list(tensor.shape), "layout": layout}
                    parts.append(data)
                    position = _aligned(position + data.size)
                transient = attribute in layer._non_persistent_buffers_set
                state.append([name, attribute, "transient" if transient else kind, entry])
    header = {"key": key, "layouts": layouts, "state": state, "bytes": position}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    with atomic_file(path) as file:
        file.write(len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded + hashlib.sha256(encoded).digest())
        for data in parts:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            file.write(data.data)
        file.write(bytes(-file.tell() % _ALIGNMENT))


def _data(tensor: Tensor) -> np.ndarray:
    """Return a tensor's bytes, uint8."""
    if tensor.is_mkldnn:
        return opaque_bytes(tensor)
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


def _is_stored(tensor: Tensor, stored: LazyTensor | None) -> bool:
    """Whether a tensor is a view of its stored bytes."""
    if tensor.is_mkldnn or stored is None or not stored.is_raw or not stored.nbytes:
        return False
    return tensor.data_ptr() == stored.buffer().ctypes.data and tensor.shape == torch.Size(stored.shape)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _remove_orphans(folder: Path) -> None:
    """Remove the prepared weights of files that no longer exist."""
    for path in folder.glob("*.bin"):
        try:
            header, _, _ = _read(path)
            if all(Path(source).is_file() for source, *_ in header["key"]["files"]):
                continue
        except (OSError, ValueError, LookupError, TypeError):
            pass
        path.unlink(missing_ok=True)
