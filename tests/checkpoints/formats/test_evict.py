from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import MappedFile, evict


def resident() -> int:
    """Bytes of files in this process's memory."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell the memory of files apart")
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("RssFile"))


def test_evicted_pages_can_be_read_again(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, 32 << 20, np.uint8)
    path = tmp_path / "data"
    data.tofile(path)
    part = MappedFile(path).read(1000, len(data) - 1000)
    np.testing.assert_array_equal(part, data[1000:-1000])
    before = resident()
    evict(part)
    assert resident() < before - (30 << 20)
    np.testing.assert_array_equal(part, data[1000:-1000])


def test_arrays_without_a_mapping_are_ignored():
    values = np.arange(10)
    evict(values)
    assert values.sum() == 45
