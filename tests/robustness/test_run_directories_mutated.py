"""Damaged files in a run directory give one sentence that names the file and says what to do."""

import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from soundloom.errors import TrainingError
from soundloom.training.config import LoopConfig
from soundloom.training.data.latents import Latents, read_latents, write_latents
from soundloom.training.loop.checkpoint import save_state
from soundloom.training.loop.trainer import Trainer
from soundloom.training.run_directory import RunDirectory
from tests.robustness.mutators.media import changed, count, damaged, generator, odd_json, refusal

LOOP = LoopConfig(steps=2, learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=1)
CHANNELS = 3
SETTINGS = {"loop": {"steps": 3}, "batch_size": 2}


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3))
        self.bias = nn.Parameter(torch.zeros(2))


class Task:
    def __init__(self):
        self.module = Line()

    def losses(self, step, stream):
        return {"loss": self.module.weight.square().sum() + (self.module.bias - 1).square().sum()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a tiny stage, by name."""
    folder = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    trainer = Trainer(Task(), LOOP, folder / "dit")
    (folder / "dit").mkdir()
    trainer.train()
    run_dir = RunDirectory(folder)
    run_dir.save_weights("dit", trainer.result())
    starts = np.array([0, 4, 9])
    rng = np.random.default_rng(0)
    write_latents(
        run_dir.latents,
        Latents(
            rng.normal(size=(9, CHANNELS)).astype(np.float32),
            starts,
            np.array([0.1, 0.2], np.float32),
            np.zeros((2, CHANNELS), np.float32),
        ),
    )
    names = ("dit/state.pt", "dit/trained.pt", "latents.npz")
    return {name: (folder / name).read_bytes() for name in names}


def reads(folder):
    """Functions that read each file as the stages do."""
    run_dir = RunDirectory(folder)
    return {
        "dit/state.pt": lambda: Trainer(Task(), LOOP, folder / "dit").train(),
        "dit/trained.pt": lambda: run_dir.read_weights("dit"),
        "latents.npz": lambda: read_latents(run_dir.latents, CHANNELS),
    }


def read_damaged(name, number, files, folder):
    rng = generator(name, number)
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(damaged(data, rng))
        message = refusal(reads(folder)[path])
        assert message is None or path.rpartition("/")[2] in message, message


@pytest.mark.parametrize("number", range(count(120)))
def test_damaged_weights_states_and_latents_are_named(number, files, tmp_path):
    read_damaged("work", number, files, tmp_path)


@pytest.mark.slow
def test_thousands_of_damaged_weights_states_and_latents(files, tmp_path):
    for number in range(count(2000)):
        read_damaged("slow work", number, files, tmp_path)


def odd_state(name, number, files, folder):
    """Read a state whose file is intact but whose contents are wrong."""
    rng = generator(name, number)
    path = folder / "dit" / "state.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(files["dit/state.pt"])
    save_state(path, changed(torch.load(path, weights_only=True), rng))
    message = refusal(reads(folder)["dit/state.pt"])
    assert message is None or "state.pt" in message or "loss" in message, message


@pytest.mark.parametrize("number", range(count(120)))
def test_states_with_other_contents_are_named(number, files, tmp_path):
    odd_state("states", number, files, tmp_path)


@pytest.mark.slow
def test_thousands_of_states_with_other_contents(files, tmp_path):
    for number in range(count(2000)):
        odd_state("slow states", number, files, tmp_path)


@pytest.mark.parametrize("number", range(count(120)))
def test_damaged_json_files_are_named(number, tmp_path):
    rng = generator("notes", number)
    run_dir = RunDirectory(tmp_path)
    (tmp_path / "dit").mkdir()
    (tmp_path / "dit" / "settings.json").write_bytes(odd_json(SETTINGS, rng))
    (tmp_path / "pretrained.json").write_bytes(odd_json({"model": "mini", "fingerprint": "f"}, rng))
    for name, read in (
        ("settings.json", lambda: list(run_dir.changes("dit", SETTINGS))),
        ("pretrained.json", lambda: run_dir.pretrained),
        ("pretrained.json", lambda: run_dir.require_pretrained("mini", "f")),
    ):
        message = refusal(read)
        assert message is None or name in message or "started from" in message, message


def test_a_compressed_file_is_rejected(tmp_path, files):
    path = tmp_path / "latents.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("frames", "starts", "seconds", "silence"):
            archive.writestr(f"{name}.npy", bytes(2**24))
    with pytest.raises(TrainingError, match=r"latents\.npz cannot be read: it holds array"):
        read_latents(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"starts": [0, 4, 8]}, "are not contiguous"),
        ({"starts": [0, 9, 4]}, "are not contiguous"),
        ({"starts": [0]}, "no lengths"),
        ({"seconds": [0.1, float("nan")]}, "holds values that are not finite"),
        ({"silence": [[0.0, 0.0]]}, "different numbers of channels"),
        ({"frames": [1.0] * 9}, "different numbers of channels"),
    ],
)
def test_inconsistent_latents_are_rejected(tmp_path, change, sentence):
    arrays = {
        "frames": np.zeros((9, CHANNELS), np.float16),
        "starts": np.array([0, 4, 9]),
        "seconds": np.ones(2, np.float32),
        "silence": np.zeros((2, CHANNELS), np.float32),
    }
    np.savez(tmp_path / "latents.npz", **{**arrays, **{name: np.array(value) for name, value in change.items()}})
    with pytest.raises(TrainingError, match=sentence):
        read_latents(tmp_path / "latents.npz")


def test_latents_of_another_model_are_rejected(tmp_path, files):
    (tmp_path / "latents.npz").write_bytes(files["latents.npz"])
    with pytest.raises(TrainingError, match="latents of 3 channels, and the model has 5"):
        read_latents(tmp_path / "latents.npz", 5)


def test_changed_settings_are_reported_briefly(tmp_path):
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "settings.json").write_text(json.dumps({"x": "y" * 5000, "z\x1b": 1}))
    for change in RunDirectory(tmp_path).changes("settings", {"x": 1}):
        assert len(change) < 300
        assert change.isprintable()
