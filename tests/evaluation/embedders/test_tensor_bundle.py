"""Checkpoints of TensorFlow 1, written here by the descriptions of their formats."""

import numpy as np
import pytest

from soundloom.errors import CorruptFileError
from soundloom.evaluation.embedders.convert import musicnn_tensors
from soundloom.evaluation.embedders.tensor_bundle import read_bundle

MAGIC = bytes.fromhex("57fb808b247547db")


def varint(value):
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def integer(number, value):
    return varint(number << 3) + varint(value)


def block(pairs):
    data, last = b"", b""
    for key, value in pairs:
        shared = next((i for i, (a, b) in enumerate(zip(last, key)) if a != b), min(len(last), len(key)))  # noqa: B905
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return data + bytes(4) + (1).to_bytes(4, "little")


def write_bundle(tensors, dtype=1, size_of=lambda array: array.nbytes):
    """Return index and data of a checkpoint with one block per two tensors."""
    data, entries = b"", [(b"", integer(1, 1))]
    for name, array in sorted(tensors.items()):
        shape = b"".join(message(2, integer(1, size)) for size in array.shape)
        checksum = varint(6 << 3 | 5) + bytes(4)
        places = integer(4, len(data)) + integer(5, size_of(array))
        entries.append((name.encode(), integer(1, dtype) + message(2, shape) + places + checksum))
        data += array.tobytes()
    index, handles = b"", []
    for start in range(0, len(entries), 2):
        content = block(entries[start : start + 2])
        handles.append((entries[min(start + 1, len(entries) - 1)][0], varint(len(index)) + varint(len(content))))
        index += content + bytes(5)
    root = block(handles)
    footer = varint(0) + varint(0) + varint(len(index)) + varint(len(root))
    return index + root + bytes(5) + footer.ljust(40, b"\0") + MAGIC, data


ARRAYS = {
    "conv2d/kernel": np.arange(24, dtype="<f4").reshape(2, 3, 1, 4),
    "conv2d/kernel/Adam": np.ones(3, "<f4"),
    "dense/kernel": np.arange(6, dtype="<f4").reshape(2, 3),
    "dense/bias": np.array(5.0, "<f4").reshape(1),
    "batch_normalization/moving_variance": np.arange(3, dtype="<f4"),
}


def test_tensors_are_read_by_name():
    index, data = write_bundle(ARRAYS)
    found = read_bundle(index, data, lambda name: "Adam" not in name)
    assert found.keys() == ARRAYS.keys() - {"conv2d/kernel/Adam"}
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in found)


def test_kernels_get_the_axes_of_pytorch():
    tensors = musicnn_tensors(*write_bundle(ARRAYS))
    assert tensors.keys() == {"conv2d.weight", "dense.weight", "dense.bias", "batch_normalization.running_var"}
    assert tensors["conv2d.weight"].shape == (4, 1, 2, 3)
    assert tensors["conv2d.weight"][3, 0, 1, 2] == ARRAYS["conv2d/kernel"][1, 2, 0, 3]
    assert np.array_equal(tensors["dense.weight"], ARRAYS["dense/kernel"].T)


def test_a_tensor_beyond_the_data_or_of_another_type_is_refused():
    index, data = write_bundle(ARRAYS)
    with pytest.raises(CorruptFileError, match="not a float tensor inside the data file"):
        read_bundle(index, data[:-4], lambda name: True)
    for changed in (write_bundle(ARRAYS, dtype=9), write_bundle(ARRAYS, size_of=lambda array: array.nbytes + 4)):
        with pytest.raises(CorruptFileError, match="not a float tensor"):
            read_bundle(*changed, lambda name: True)


def test_damage_anywhere_in_the_index_raises_one_error():
    index, data = write_bundle(ARRAYS)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(index[: rng.integers(1, len(index) + 1)] if rng.random() < 0.3 else index)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(256)
        try:
            found = read_bundle(bytes(damaged), data, lambda name: True)
        except CorruptFileError:
            continue
        assert sum(array.nbytes for array in found.values()) <= len(ARRAYS) * len(data)
