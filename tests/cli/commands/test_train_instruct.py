"""`soundloom train instruct`: train an editor for `soundloom edit` from a MusicGen model."""

import json

import numpy as np
import pytest
import torch

from soundloom.checkpoints.musicgen.open import open_musicgen
from soundloom.config.musicgen.model import InstructConfig, published_musicgen
from soundloom.engines.torch.musicgen.engine import TorchMusicEngine
from soundloom.engines.torch.musicgen.lm import MusicGenLM
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from soundloom.training.loop.logging import read_log
from soundloom.training.stages.instruct import Editor
from tests.training.tiny_recipe import write_recipe

LOOP = {"steps": 4, "learning_rate": 1e-2, "final_learning_rate": 1e-3, "warmup_steps": 1, "log_every": 1}
RECIPE = {
    "instruct": {
        "batch_size": 2,
        "seconds": 0.5,
        "stems": "bands",
        "adapter": {"max_frames": 50, "lora_rank": 2, "lora_alpha": 4},
        "loop": LOOP,
    }
}


@pytest.fixture(scope="session")
def composers(tmp_path_factory):
    """Return folders of tiny models by kind."""
    folder = tmp_path_factory.mktemp("composers")
    small, stereo = (tiny_musicgen(published_musicgen("small", stereo=both)) for both in (False, True))
    return {
        "plain": make_musicgen(small, folder / "plain"),
        "packed": make_musicgen(small, folder / "packed", "int4"),
        "stereo": make_musicgen(stereo, folder / "stereo"),
    }


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    write_recipe(folder := tmp_path_factory.mktemp("recipes") / "recipe", RECIPE)
    return folder


@pytest.fixture
def train(soundloom, recipe):
    def call(stage, *flags, run_dir="work"):
        return soundloom("train", stage, recipe, "--work", run_dir, "--device", "cpu", "--quiet", *flags)

    return call


def trained(run_dir) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "instruct" / "trained.pt", weights_only=True)


def test_edit_opens_a_trained_editor(soundloom, train, composers, source, tmp_path):
    assert train("instruct", "--from", composers["plain"]).out == "work/instruct/trained.pt\n"
    assert train("export", "--out", "editor").out == "editor\n"
    made = soundloom("edit", source, "Only the lead", "-o", "out.wav", "--model", "editor", "--json")
    record = json.loads(made.out)["clips"][0]
    assert record["understood"] == "Music piece. Instruct: Only Lead."
    assert "warnings" not in record
    assert open_musicgen(tmp_path / "editor").config.instruct == InstructConfig(
        max_frames=50, lora_rank=2, lora_alpha=4, window=0.5, instruments=("Drums", "Bass", "Chords", "Lead")
    )


def test_the_exported_editor_predicts_like_the_trained_one(train, composers, tmp_path):
    train("instruct", "--from", composers["plain"])
    train("export", "--out", "editor")
    state, checkpoint = trained(tmp_path / "work"), open_musicgen(tmp_path / "editor")
    assert max(value.abs().max() for name, value in state.items() if "lora_B" in name) > 0.01
    base = TorchMusicEngine(open_musicgen(composers["plain"]), "cpu", "fp32")
    exported = TorchMusicEngine(checkpoint, "cpu", "fp32")
    base.load("lm")
    lm = base.module("lm")
    assert isinstance(lm, MusicGenLM)
    editor = Editor(lm, checkpoint.config.instruct)
    editor.load_state_dict(state)
    base._modules["adapter"] = editor.eval().cp_transformer
    ids = np.arange(3)[None]
    source = np.random.default_rng(0).integers(0, 64, (1, 4, 25))
    reading = exported.encode_text(ids, ids >= 0)
    start = np.full((1, 4, 1), 64)
    ours, theirs = (engine.decoder(reading, 4, True, source)(start) for engine in (exported, base))
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


def test_a_stopped_training_resumes_to_the_same_bits(train, composers, tmp_path, monkeypatch):
    assert train("instruct", "--from", composers["plain"]).code == 0
    with monkeypatch.context() as patch:
        asked = iter((False, False, True))  # stop after two of four steps
        patch.setattr("soundloom.cli.commands.train.Stop.requested", property(lambda stop: next(asked)))
        train("instruct", "--from", composers["plain"], run_dir="other")
    assert not (tmp_path / "other" / "instruct" / "trained.pt").exists()
    assert [record["step"] for record in read_log(tmp_path / "other" / "instruct")] == [1, 2]
    assert train("instruct", "--resume", run_dir="other").code == 0
    full, stopped = trained(tmp_path / "work"), trained(tmp_path / "other")
    assert full.keys() == stopped.keys()
    assert all(torch.equal(full[name], stopped[name]) for name in full)
    assert not any(name.startswith("lm.") for name in full)


def test_an_editor_can_be_fine_tuned(train, composers, tmp_path):
    train("instruct", "--from", composers["plain"])
    train("export", "--out", "editor")
    slow = ("--set", "loop.learning_rate=1e-9", "--set", "loop.final_learning_rate=0.0")
    assert train("instruct", "--from", "editor", *slow, run_dir="more").code == 0
    before = open_musicgen(tmp_path / "editor").tensors["cp_transformer.gates"].numpy()
    assert np.abs(before).min() > 1e-3
    np.testing.assert_allclose(trained(tmp_path / "more")["cp_transformer.gates"].numpy(), before, atol=1e-6)


@pytest.mark.parametrize(
    ("stage", "flags", "sentence"),
    [
        ("instruct", (), "train instruct needs a MusicGen model"),
        ("instruct", ("--from", "stereo"), "supports only mono models"),
        ("instruct", ("--from", "packed"), "is already packed, as int4"),
        ("instruct", ("--from", "plain", "--set", "seconds=2.0"), "reads at most 1 s, not 2"),
        ("instruct", ("--from", "plain", "--recompute"), "does not support --recompute"),
        ("instruct", ("--from", "plain", "--resume"), "no instruct run"),
        ("dit", ("--from", "plain"), "train dit is for Stable Audio models"),
        ("export", ("--from", "plain", "--out", "x"), "run soundloom train instruct first"),
    ],
)
def test_an_invalid_request_is_one_sentence(train, composers, stage, flags, sentence):
    made = train(stage, *(composers.get(flag, flag) for flag in flags))
    assert made.code in (1, 2)
    assert sentence in made.err
