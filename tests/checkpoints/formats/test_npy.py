"""Headers of npy files: valid ones are read as by NumPy, all others are rejected."""

import io

import numpy as np
import pytest

from soundloom.checkpoints.formats.npy import read_npy
from soundloom.errors import CorruptFileError
from soundloom.untrusted.npy import read_npy_header


def with_header(text, version=(1, 0)):
    width = 2 if version[0] == 1 else 4
    return np.frombuffer(
        b"\x93NUMPY" + bytes(version) + len(text).to_bytes(width, "little") + text.encode("latin-1"), np.uint8
    )


@pytest.mark.parametrize(
    "array",
    [
        np.float32(1),
        np.zeros((0, 3), np.int8),
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24, dtype=np.uint16).reshape(1, 2, 3, 4),
        np.array([True, False]),
        np.array(["a", "bc"]),
    ],
)
def test_arrays_come_back_as_saved(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array, strict=True)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(tmp_path, version):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.eye(3), version=version)
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), np.eye(3))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n", (2, 3)),
        ('{"shape": (2, 3,), "fortran_order": False, "descr": "<f4"}', (2, 3)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}", (2,)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", ()),
    ],
)
def test_all_forms_of_the_header_are_read(text, shape):
    assert read_npy_header(with_header(text)).shape == shape


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "(" * 10_000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,)}",
        "{'descr': '<f4', 'fortran_order': (), 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': True}",
        "{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': 'f4,f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} or exit()",
        "__import__('os').system('true')",
        "x\nerror: forged",
    ],
)
def test_invalid_headers_are_rejected(text):
    with pytest.raises(ValueError, match=r"npy header|unknown type") as caught:
        read_npy_header(with_header(text))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", lambda data: data[:9]]
)
def test_files_of_another_length_are_rejected(tmp_path, change):
    np.save(tmp_path / "a.npy", np.eye(3))
    (tmp_path / "a.npy").write_bytes(change((tmp_path / "a.npy").read_bytes()))
    with pytest.raises(CorruptFileError, match="is not a NumPy array: it "):
        read_npy(tmp_path / "a.npy")
