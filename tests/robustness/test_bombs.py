"""Small files that demand huge resources are rejected within 2 GiB of memory and 10 seconds."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from soundloom.checkpoints.formats import pickle as pickle_file
from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from tests.robustness.mutators.formats import bomb

pytest.importorskip("resource", reason="this system has no limits of memory to set")

MEMORY = 2 << 30  # bytes of address space
SECONDS = 10  # of processor time

READ = """
import json, resource, sys
from pathlib import Path

from soundloom.checkpoints.formats.npy import read_npy
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.checkpoints.formats import pickle as pickle_file
from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.config.stable_audio.model import read_model_config
from soundloom.errors import SoundloomError

readers = {
    ".npy": read_npy, ".npz": read_npz, ".safetensors": read_safetensors, ".json": read_model_config,
    ".bin": lambda path: [tensor.numpy().sum() for tensor in tensors_of(read_pickle(path), "it").values()],
}
memory, seconds, *paths = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
for path in map(Path, paths):
    try:
        readers[path.suffix](path)
        print(json.dumps(["", "it was read"]), flush=True)
    except SoundloomError as error:
        print(json.dumps([error.args[0], error.hint]), flush=True)
"""


def refusals(*paths):
    """Return the error messages for files, from a process with limited memory and time."""
    seconds = SECONDS * len(paths)
    command = [sys.executable, "-W", "error", "-c", READ, str(MEMORY), str(seconds), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = list(map(json.loads, done.stdout.splitlines()))
    assert len(found) == len(paths), f"{paths[len(found)].name}, {done.returncode}: {done.stderr[-1000:]}"
    for (sentence, hint), path in zip(found, paths, strict=True):
        assert sentence, f"{path.name}: {hint}"
        assert len(sentence) - len(str(path)) < 400 and sentence.isprintable(), f"{path.name}: {sentence[:500]}"
    return [sentence for sentence, _ in found]


def npy_header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_a_2_gib_archive_is_rejected_before_decompression(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(bomb(2 << 30, start=npy_header((1 << 29,))))
    assert path.stat().st_size < 3 << 20
    assert "would inflate to" in refusals(path)[0]


def test_an_archive_with_a_false_size_is_rejected(tmp_path):
    data = bytearray(bomb(256 << 20))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.find(magic) + offset
        data[place : place + 4] = struct.pack("<I", 1000)
    (tmp_path / "a.npz").write_bytes(data)
    assert "more than the 1000 bytes that it claims" in refusals(tmp_path / "a.npz")[0]


def test_overlapping_members_are_rejected(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(100), b=np.zeros(100))
    data = bytearray(path.read_bytes())
    first, second = data.find(b"PK\x01\x02"), data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = data[first + 42 : first + 46]  # where the member begins
    path.write_bytes(data)
    assert "overlaps" in refusals(path)[0]


def test_an_archive_with_too_many_members_is_rejected(tmp_path):
    paths = [tmp_path / "many.npz", tmp_path / "long.bin"]
    for path, length in zip(paths, (1, 200), strict=True):
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(35_000):
                archive.writestr(f"{number:0{length}}.npy", b"")
    many, long = refusals(*paths)
    assert "names 35000 tensors" in many
    assert "central directory" in long


def test_a_header_with_too_many_tensors_is_rejected(tmp_path):
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    paths = [tmp_path / "many.safetensors", tmp_path / "long.safetensors"]
    for path, count in zip(paths, (100_000, 500_000), strict=True):
        header = ("{" + ",".join(entry % number for number in range(count)) + "}").encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    many, long = refusals(*paths)
    assert "names 100000 tensors" in many
    assert "claims a header" in long


HEADERS = [
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":{},"shape":[1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,5]}}',
    b'{"a":{"dtype":"F32","shape":' + json.dumps([10**18] * 1000).encode() + b',"data_offsets":[0,4]}}',
    b'{"a\\nerror: forged":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    b'{"\\u001b[31m":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    b'{"' + b"x" * 100_000 + b'":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
]


def test_an_invalid_header_is_rejected(tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(len(HEADERS))]
    for path, header in zip(paths, HEADERS, strict=True):
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refusals(*paths)


def test_a_deeply_nested_configuration_is_rejected(tmp_path):
    (tmp_path / "model_config.json").write_bytes(b"[" * 4_000_000)
    assert "nested" in refusals(tmp_path / "model_config.json")[0]


# Pickles


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x0c" + value.to_bytes(12, "little", signed=True)


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(4) + b"tQ"


def tensor(offset, shape, strides):
    arguments = STORAGE + offset + numbers(*shape) + numbers(*strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def save(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + content + b".")
        archive.writestr("a/data/0", np.arange(4, dtype="<f4").tobytes())
    return path


NAN = b"G\x7f\xf8\x00\x00\x00\x00\x00\x00"


OUTSIDE = [
    tensor(number(0), (2, 2), (1 << 40, 1)),
    tensor(number(0), (2, 2), (-1, 1)),
    tensor(number(3), (2,), (1,)),
    tensor(number(1 << 62), (1,), (1,)),
    tensor(number(0), (1 << 40,), (0,)),
    tensor(number(0), (1 << 62, 1 << 62), (0, 0)),
    tensor(number(0), (2, 2), (1,)),
    tensor(NAN, (1,), (1,)),
    tensor(b"\x88", (1,), (1,)),
]


def test_a_tensor_outside_its_storage_is_rejected(tmp_path):
    contents = [b"}" + text("w") + content + b"s" for content in OUTSIDE]
    paths = [save(tmp_path / f"{number}.bin", content) for number, content in enumerate(contents)]
    assert all("tensor" in sentence for sentence in refusals(*paths))


def test_checked_tensors_cannot_be_changed(tmp_path):
    good = tensor(number(0), (2, 2), (2, 1))
    state = b"}" + text("shape") + numbers(1 << 40) + b"s" + text("dtype") + text("F64") + b"s"
    for change in (
        state + b"b",  # as the state of an object
        b"N" + state + b"\x86b",  # as the state of its slots
        text("shape") + numbers(1 << 40) + b"s",  # as an item
        b"(" + text("shape") + numbers(1 << 40) + b"u",
        numbers(1 << 40) + b"a",
    ):
        path = save(tmp_path / "a.bin", b"}" + text("w") + good + change + b"s")
        found = tensors_of(read_pickle(path), "a.bin")["w"]
        assert (found.shape, found.dtype) == ((2, 2), "F32")
        assert found.numpy().tolist() == [[0, 1], [2, 3]]


MUCH = [
    b"]" * 1_500_000,
    b"(" * 1_500_000,
    b"]" + b"".join(b"q%c" % n + b"(" + b"h%c" % n * 100 + b"l" for n in range(200)),  # lists of lists
    b"]" + b"\x85" * 1_500_000,
    b"K\x00r\xff\xff\xff\x7f",
    b"}(" + b"".join(number(n * (2**61 - 1)) + b"N" for n in range(100_000)) + b"u",
    b"X\xff\xff\xff\xff",
]


def test_a_pickle_with_too_many_objects_is_rejected(tmp_path):
    refusals(*(save(tmp_path / f"{number}.bin", content) for number, content in enumerate(MUCH)))


def test_pickles_cannot_change_functions(tmp_path):
    """BUILD could change a function's defaults for the whole process, so it has no effect here."""
    before = pickle_file._rebuild_tensor.__defaults__, pickle_file._make_size.__defaults__
    state = b"N}" + text("__defaults__") + numbers(1) + b"s\x86b"
    names = (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\nlen\n", b"cpickle\nloads\n", b"ctorch\nSize\n")
    for name in names:
        read_pickle(save(tmp_path / "a.bin", name + state))
    assert before == (pickle_file._rebuild_tensor.__defaults__, pickle_file._make_size.__defaults__)
