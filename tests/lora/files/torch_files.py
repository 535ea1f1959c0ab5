"""Write files as torch.save does, opcode by opcode: honest ones, and those that no library would write."""

from __future__ import annotations

import struct
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage", "float64": "DoubleStorage"}


class Raw(bytes):
    """Opcodes that leave one object on the stack."""


class BFloat16:
    """Values given as 16-bit integers."""

    def __init__(self, bits):
        self.bits = bits


def name(module, attribute):
    return Raw(b"c" + module.encode() + b"\n" + attribute.encode() + b"\n")


def call(function, *arguments):
    return Raw(function + b"(" + b"".join(map(encode, arguments)) + b"tR")


def encode(value):
    """Return the opcodes of a value without tensors."""
    if isinstance(value, Raw):
        return value
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value) if abs(value) < 1 << 31 else b"\x8a\x08" + struct.pack("<q", value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, dict):
        return b"}(" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(encode, value)) + b"e"
    assert isinstance(value, tuple)
    return b"(" + b"".join(map(encode, value)) + b"t"


class TorchFile:
    """The pickle and the storages of a file."""

    def __init__(self):
        self.storages = []

    def tensor(self, array, shape=None, strides=None, offset=0, count=None, storage=None):
        """Add a storage and return the opcodes of a tensor on it; the options override what the array says."""
        if isinstance(array, BFloat16):
            kind, data = "BFloat16Storage", array.bits
        else:
            kind, data = STORAGES[str(array.dtype)], array
        if storage is None:
            storage = len(self.storages)
            self.storages.append(np.ascontiguousarray(data).tobytes())
        shape = data.shape if shape is None else shape
        if strides is None:
            strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
        count = data.size if count is None else count
        reference = Raw(encode(("storage", name("torch", kind), str(storage), "cpu", count)) + b"Q")
        hooks = call(name("collections", "OrderedDict"))
        return call(name("torch._utils", "_rebuild_tensor_v2"), reference, offset, shape, strides, False, hooks)

    def tensors(self, arrays):
        return {key: self.tensor(array) for key, array in arrays.items()}

    def save(self, path, data):
        """Write the file; `data` is a value with opcodes of tensors, or the complete pickle as bytes."""
        content = data if type(data) is bytes else b"\x80\x02" + encode(data) + b"."
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/byteorder", "little")
            for index, storage in enumerate(self.storages):
                archive.writestr(f"archive/data/{index}", storage)
            archive.writestr("archive/version", "3\n")
        return path


def save_checkpoint(path, arrays, config, **others):
    """Write the native form: `state_dict`, `lora_config`, and other keys."""
    file = TorchFile()
    return file.save(path, {"state_dict": file.tensors(arrays), "lora_config": config, **others})
