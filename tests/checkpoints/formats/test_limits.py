"""Limits on names and numbers of tensors, and the messages about them."""

import io
import json
import zipfile

import numpy as np
import pytest

from soundloom.checkpoints.formats.limits import MAX_TENSORS
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.checkpoints.formats.pickle import tensors_of
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import MAX_SHOWN, CorruptFileError
from soundloom.untrusted.json import decode_json

NAMES = ["", "a\nb", "\x1b[31m", "n" * 513]
SENTENCE = "it has a tensor whose name is not printable text of 1 to 512 characters"
LONG = "n" * 500


def safetensors(path, entries):
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def npz(path, name, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)
    return path


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_printable_are_rejected(tmp_path, name):
    path = safetensors(tmp_path / "a.safetensors", {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}})
    with pytest.raises(CorruptFileError, match=f"a.safetensors cannot be read: {SENTENCE}"):
        read_safetensors(path)
    with pytest.raises(CorruptFileError, match=f"a state cannot be read: {SENTENCE}"):
        tensors_of({name: from_array("a", np.zeros(1))}, "a state")
    if name:  # zip archives hold none without
        with pytest.raises(CorruptFileError, match=f"a.npz is not a complete npz archive: {SENTENCE}"):
            read_npz(npz(tmp_path / "a.npz", f"{name}.npy", npy(np.zeros(1))))


def test_too_many_tensors_are_rejected():
    state = {f"a{i}": from_array("a", np.zeros(1)) for i in range(MAX_TENSORS + 1)}
    with pytest.raises(CorruptFileError, match=f"a state cannot be read: it names {MAX_TENSORS + 1} tensors"):
        tensors_of(state, "a state")


def test_long_names_are_truncated_in_messages(tmp_path):
    entries = [
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "X", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]},
    ]
    for entry in entries:
        refuse(read_safetensors, safetensors(tmp_path / "a", {LONG: entry}))
    arrays = [b"", npy(np.array(["text"])), npy(np.zeros(9))[:-8], npy(np.array([None]))]
    for name, data in [(LONG, b""), *((f"{LONG}.npy", data) for data in arrays)]:
        refuse(read_npz, npz(tmp_path / "a", name, data))


def refuse(read, path):
    with pytest.raises(CorruptFileError, match="nnn…'") as caught:
        read(path)
    assert "n" * MAX_SHOWN not in str(caught.value)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_json_constants_are_named(constant):
    with pytest.raises(ValueError, match=f"^it holds {constant}, which is not valid JSON$"):
        decode_json(f'{{"a": [1,\n{constant}]}}')
