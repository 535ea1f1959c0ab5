"""States are written atomically, and any flipped bit is detected when they are read."""

import random

import pytest
import torch

from soundloom.errors import TrainingError, WriteError
from soundloom.training.loop.checkpoint import read_state, save_state


def state():
    generator = torch.Generator().manual_seed(1)
    weights = {f"w{i}": torch.randn(8, 8, generator=generator) for i in range(4)}
    return {"step": 3, "module": weights, "auxiliary": {}, "ema": {}, "optimizer": {}}


def test_a_state_is_read_as_it_was_written(tmp_path):
    save_state(tmp_path / "state.pt", state())
    back = read_state(tmp_path / "state.pt")
    assert back["step"] == 3
    assert all(torch.equal(back["module"][name], value) for name, value in state()["module"].items())


def test_every_flipped_bit_is_detected(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, state())
    original, rng = path.read_bytes(), random.Random(5)
    bits = 8 * len(original)
    for bit in [*(rng.randrange(bits) for _ in range(40)), *range(bits - 700, bits, 9)]:
        data = bytearray(original)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(TrainingError, match=r"state\.pt cannot be read: its sha256 is not the one"):
            read_state(path)


def test_torch_reads_a_state(tmp_path):
    save_state(tmp_path / "state.pt", state())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3


@pytest.mark.parametrize("content", [b"", b"short", bytes(1000)])
def test_a_file_of_another_kind_is_one_sentence(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read"):
        read_state(tmp_path / "state.pt")


def test_a_full_disk_is_a_write_error_and_leaves_the_older_state(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state(path, {"step": 1})
    before = path.read_bytes()
    save = torch.save

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            raise OSError(28, "No space left on device")

        def flush(self):
            self.file.flush()

    monkeypatch.setattr(torch, "save", lambda data, file: save(data, Full(file)))
    with pytest.raises(WriteError, match=r"state\.pt could not be written: No space left on device"):
        save_state(path, state())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
