from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import MappedFile, bf16_to_float32, float32_to_bf16, from_array


def test_bf16_rounds_to_nearest_even_and_keeps_specials():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    values = random.standard_normal(10_000).astype(np.float32) * np.float32(10.0) ** random.integers(-30, 30, 10_000)
    values[:6] = [0.0, -0.0, np.inf, -np.inf, 1 + 2**-8, 1 + 3 * 2**-8]  # the last two are ties
    expected = torch.from_numpy(values).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(bf16_to_float32(float32_to_bf16(values)), expected)
    assert np.isnan(bf16_to_float32(float32_to_bf16(np.array([np.nan], np.float32)))).all()


def test_cast_tensor_gives_the_bytes_of_its_new_dtype():
    tensor = from_array("x", np.array([[1.0, 2.5]], np.float32)).cast("BF16")
    assert tensor.data().tobytes() == bytes.fromhex("803f2040")
    assert not tensor.is_raw


def test_derived_tensor_has_no_buffer():
    derived = from_array("x", np.arange(6.0).reshape(2, 3)).derive((3, 2), np.transpose, "y")
    assert derived.numpy().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert np.frombuffer(derived.data(), np.float64).tolist() == [0, 3, 1, 4, 2, 5]
    with pytest.raises(ValueError, match="computed"):
        derived.buffer()


def test_writing_into_a_mapped_file_does_not_change_it(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(b"abcd")
    mapped = MappedFile(path).read(0, 4)
    mapped[0] = 0
    assert path.read_bytes() == b"abcd"


def test_the_mapping_ends_with_its_last_array(tmp_path):
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list the mappings of a process")
    path = tmp_path / "bytes"
    path.write_bytes(b"abcd")
    file = MappedFile(path)
    first, second = file.read(0, 2), file.read(2, 4)
    del first
    assert str(path) in maps.read_text()
    del second
    assert str(path) not in maps.read_text()
    assert file.read(1, 3).tobytes() == b"bc"


def test_a_replaced_file_is_not_read(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(b"abcd")
    file = MappedFile(path)
    (tmp_path / "new").write_bytes(b"efgh")
    (tmp_path / "new").replace(path)
    assert file.read(0, 4).tobytes() == b"abcd"
