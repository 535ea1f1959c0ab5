import zipfile

import numpy as np
import pytest

from soundloom.checkpoints.formats.npz import read_npz, write_npz
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import CorruptFileError

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([[1.5], [-2]], np.float16),
    "columns": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "META": np.frombuffer(b'{"a": 1}', np.uint8),
    "none": np.zeros((0, 3), np.float32),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    tensors = read_npz(tmp_path / "a.npz")
    assert tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array, strict=True)


def test_numpy_reads_what_we_write_and_every_array_can_be_mapped(tmp_path):
    path = tmp_path / "b.npz"
    write_npz(path, [from_array(name, array) for name, array in ARRAYS.items()])
    with np.load(path) as loaded:
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(loaded[name], array, strict=True)
    assert all(tensor.is_raw for tensor in read_npz(path).values())
    assert zipfile.ZipFile(path).testzip() is None


def test_stored_members_are_not_copied(tmp_path):
    write_npz(tmp_path / "b.npz", [from_array("x", np.ones(4, np.float32))])
    tensor = read_npz(tmp_path / "b.npz")["x"]
    assert np.shares_memory(tensor.numpy(), tensor.buffer())


def test_bf16_must_be_cast_first(tmp_path):
    with pytest.raises(ValueError, match="BF16"):
        write_npz(tmp_path / "b.npz", [from_array("x", np.ones(4, np.float32)).cast("BF16")])
    assert list(tmp_path.iterdir()) == []


def test_pickled_objects_are_rejected(tmp_path):
    np.savez(tmp_path / "a.npz", fine=np.ones(2), evil=np.array([{"code": 1}], dtype=object))
    with pytest.raises(CorruptFileError, match="pickled Python objects as 'evil'"):
        read_npz(tmp_path / "a.npz")


def test_text_arrays_are_rejected(tmp_path):
    np.savez(tmp_path / "a.npz", words=np.array(["a"]))
    with pytest.raises(CorruptFileError, match="'words' of type <U1"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("keep", [0, 10, 700])
def test_a_truncated_archive_is_rejected(tmp_path, keep):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match="not a complete npz"):
        read_npz(path)


def test_other_members_are_rejected(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("run.py", "print()")
    with pytest.raises(CorruptFileError, match=r"run\.py"):
        read_npz(tmp_path / "a.npz")


def test_a_member_shorter_than_its_header_says_is_rejected(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(8))
    whole = (tmp_path / "x.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", whole[:-8])
    with pytest.raises(CorruptFileError, match=r"56 bytes, not 64 for float64 \[8\]"):
        read_npz(tmp_path / "a.npz")
