import json

import numpy as np
import pytest

from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import NUMPY_DTYPES, LazyTensor, from_array
from soundloom.errors import CorruptFileError

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "ids": np.array([1, 2**40]),
    "scalar": np.array(3.0),
    "empty": np.zeros((1, 0, 1), np.float32),
    "mask": np.array([True, False]),
    "bytes": np.frombuffer(b"meta", np.uint8),
}


def test_reads_what_the_safetensors_library_writes(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(ARRAYS, tmp_path / "a.safetensors", metadata={"format": "pt"})
    tensors = read_safetensors(tmp_path / "a.safetensors")
    assert tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        found = tensors[name].numpy()
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array, strict=True)


def test_the_safetensors_library_reads_what_we_write(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "sub" / "b.safetensors"
    write_safetensors(path, [from_array(name, array) for name, array in ARRAYS.items()], {"a": "b"})
    for name, array in library.load_file(path).items():
        np.testing.assert_array_equal(array, ARRAYS[name], strict=True)
    with library.safe_open(path, "np") as written:
        assert written.metadata() == {"a": "b"}
    assert [file.name for file in path.parent.iterdir()] == ["b.safetensors"]


def test_bf16_survives_a_round_trip_through_torch(tmp_path):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    value = torch.tensor([[1.0, -0.5, 3.14]], dtype=torch.bfloat16)
    library.save_file({"x": value}, tmp_path / "x.safetensors")
    tensor = read_safetensors(tmp_path / "x.safetensors")["x"]
    assert tensor.dtype == "BF16"
    np.testing.assert_array_equal(tensor.numpy(), value.float().numpy())
    assert torch.equal(torch.frombuffer(tensor.buffer(), dtype=torch.bfloat16).view(1, 3), value)


def test_numpy_is_a_view_of_the_mapped_file(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", [from_array("x", np.ones(4, np.float32))])
    tensor = read_safetensors(tmp_path / "a.safetensors")["x"]
    assert tensor.is_raw
    assert np.shares_memory(tensor.numpy(), tensor.buffer())


def test_failed_write_leaves_nothing_behind(tmp_path):
    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_safetensors(tmp_path / "a.safetensors", [LazyTensor("x", "F32", (2,), fail, stored=False)])
    assert list(tmp_path.iterdir()) == []


def write_raw(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(begin=0, end=8, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


BAD = {
    "empty file": (b"", None, "has 0 bytes"),
    "header beyond the end": (None, ({}, b"", 10**6), "claims a header of 1000000 bytes"),
    "header not JSON": (None, (b"{oops", b""), "not JSON"),
    "header not an object": (None, (b"[1]", b""), "not a JSON object"),
    "name twice": (None, (b'{"x":{"dtype":"U8"},"x":{"dtype":"U8"}}', b""), "twice"),
    "no offsets": (None, ({"x": {"dtype": "F32", "shape": [2]}}, bytes(8)), "without a valid"),
    "negative shape": (None, ({"x": entry(shape=(-2,))}, bytes(8)), "without a valid"),
    "unknown dtype": (None, ({"x": entry(dtype="F8_E4M3")}, bytes(8)), "dtype 'F8_E4M3'; supported"),
    "size against shape": (None, ({"x": entry(shape=(3,))}, bytes(8)), r"8 bytes, not 12 for F32 \[3\]"),
    "truncated": (None, ({"x": entry()}, bytes(5)), "truncated: tensor 'x' ends 3 bytes beyond"),
    "overlap": (None, ({"x": entry(), "y": entry(4, 12)}, bytes(12)), "overlaps"),
    "gap": (None, ({"x": entry(), "y": entry(12, 20)}, bytes(20)), "unused bytes"),
    "trailing bytes": (None, ({"x": entry()}, bytes(9)), "9 bytes of data, but its header describes 8"),
}


@pytest.mark.parametrize(("content", "parts", "sentence"), BAD.values(), ids=BAD)
def test_a_faulty_file_is_rejected_with_its_fault(tmp_path, content, parts, sentence):
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    else:
        write_raw(path, *parts)
    with pytest.raises(CorruptFileError, match=sentence):
        read_safetensors(path)


def test_every_dtype_is_known_to_the_library_by_the_same_name():
    library = pytest.importorskip("safetensors.numpy")
    for name, dtype in NUMPY_DTYPES.items():
        if name != "BF16":
            saved = library.save({"x": np.zeros(1, dtype)})
            assert json.loads(saved[8 : 8 + int.from_bytes(saved[:8], "little")])["x"]["dtype"] == name
