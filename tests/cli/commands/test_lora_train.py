"""The commands that prepare and train adapters."""

from __future__ import annotations

import json

import numpy as np
import pytest

from soundloom.lora.files.read import read_adapter
from soundloom.testing.stable_audio import make_random
from tests.training.lora.runs import write_sounds

SHORT = ("--steps", "4", "--save-every", "2", "--log-every", "2", "--rank", "2", "--preview-every", "0")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_random("small-music-base", tmp_path_factory.mktemp("models") / "base", size="tiny")


@pytest.fixture
def sounds(tmp_path):
    return write_sounds(tmp_path / "sounds", (0.5, 0.7))


def test_training_prints_the_last_adapter_and_continues_when_run_again(soundloom, base, sounds, tmp_path):
    command = ("lora", "train", sounds, "--model", base, "--out", tmp_path / "out", *SHORT)
    done = soundloom(*command)
    assert done.code == 0, done.err
    path = done.out.strip()
    assert path.endswith("lora-step=4-epoch=0.safetensors")
    assert "lora: step 2 of 4: loss" in done.err
    assert read_adapter(tmp_path / "out" / path.rpartition("/")[2]).rank == 2
    longer = soundloom(*command, "--steps", "6", "--resume")
    assert longer.code == 0, longer.err
    assert "step=6" in longer.out
    again = soundloom(*command, "--restart", "--type", "lora")
    assert "step=4" in again.out
    assert read_adapter(next((tmp_path / "out").glob("*step=4*"))).type == "lora"


def test_nothing_is_resumed_where_nothing_was_started(soundloom, base, sounds, tmp_path):
    done = soundloom("lora", "train", sounds, "--model", base, "--out", tmp_path / "out", "--resume")
    assert done.code == 2
    assert "there is no run" in done.err


def test_post_trained_models_are_refused(soundloom, sounds, tmp_path, tiny_model_folder):
    command = ("lora", "train", sounds, "--model", tiny_model_folder, "--out", tmp_path / "out", *SHORT)
    done = soundloom(*command)
    assert done.code == 2
    assert "post-trained" in done.err
    assert "--force" in done.err
    assert not (tmp_path / "out").exists()
    assert soundloom(*command, "--force").code == 0


@pytest.mark.parametrize(("model", "message"), [("small-music", "train on small-music-base"), ("same-s", "generates")])
def test_unsuitable_models_are_refused_before_they_are_downloaded(soundloom, sounds, tmp_path, model, message):
    done = soundloom("lora", "train", sounds, "--model", model, "--out", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert "license" not in done.err


def test_a_run_does_not_add_to_its_own_data(soundloom, base, sounds):
    for out in (sounds, sounds / "run"):
        done = soundloom("lora", "train", sounds, "--model", base, "--out", out, *SHORT)
        assert done.code == 2
        assert "is inside the sounds in" in done.err


def test_a_single_file_is_no_training_set(soundloom, base, sounds, tmp_path):
    done = soundloom("lora", "train", sounds / "0.wav", "--model", base, "--out", tmp_path / "out", *SHORT)
    assert done.code == 2
    assert "0.wav is a single file, not a dataset" in done.err


def test_a_dry_run_tells_what_is_wrong_and_what_the_run_needs(soundloom, base, sounds, tmp_path):
    command = ("lora", "train", sounds, "--model", base, "--out", tmp_path / "out", "--dry-run")
    done = soundloom(*command)
    assert done.code == 0, done.err
    for part in ("2 clips, 2 usable", "rank 4 to 8", "14 layers", "memory: about", "time: about"):
        assert part in done.out
    assert not (tmp_path / "out").exists()
    (sounds / "0.txt").unlink()
    done = soundloom(*command)
    assert done.code == 1
    assert "error: 0.wav has no caption" in done.out


def test_faults_of_the_data_end_training_before_it_starts(soundloom, base, sounds, tmp_path):
    for path in sounds.glob("*.txt"):
        path.unlink()
    done = soundloom("lora", "train", sounds, "--model", base, "--out", tmp_path / "out", *SHORT)
    assert done.code == 1
    assert "none of the 2 clips has a caption" in done.err
    assert not (tmp_path / "out").exists()


def test_check_prints_everything_and_fails_for_unusable_sets(soundloom, sounds):
    done = soundloom("lora", "check", sounds, "--json")
    assert done.code == 0, done.err
    assert [clip["captions"] for clip in json.loads(done.out)["clips"]] == [["a tone, number 0"], ["a tone, number 1"]]
    (sounds / "1.txt").unlink()
    done = soundloom("lora", "check", sounds)
    assert done.code == 1
    assert "1.wav has no caption" in done.out


def test_encoded_sets_can_be_trained_on(soundloom, base, sounds, tmp_path):
    command = ("lora", "encode", sounds, "--model", base, "--out", tmp_path / "latents")
    done = soundloom(*command)
    assert done.code == 0, done.err
    names = {path.name for path in (tmp_path / "latents").iterdir()}
    assert {"0.npy", "0.json", "1.npy", "1.json", "silence.npy", "details.json"} <= names
    stored = json.loads((tmp_path / "latents/0.json").read_text())
    assert stored["prompt"] == "a tone, number 0"
    assert {"seconds_total", "padding_mask", "seconds_start", "timestamps"} <= set(stored)
    before = (tmp_path / "latents/0.npy").stat().st_mtime_ns
    assert soundloom(*command).code == 0
    assert (tmp_path / "latents/0.npy").stat().st_mtime_ns == before
    done = soundloom("lora", "train", tmp_path / "latents", "--model", base, "--out", tmp_path / "out", *SHORT)
    assert done.code == 0, done.err
    assert not (tmp_path / "out/latents").exists()
    assert soundloom("lora", "encode", tmp_path / "latents", "--model", base, "--out", tmp_path / "x").code == 2


def test_sounds_can_be_brought_to_one_loudness(soundloom, base, sounds, tmp_path):
    for name, flags in (("plain", ()), ("loud", ("--loudness", "-30"))):
        assert soundloom("lora", "encode", sounds, "--model", base, "--out", tmp_path / name, *flags).code == 0
    plain, loud = (np.load(tmp_path / name / "0.npy") for name in ("plain", "loud"))
    assert not np.array_equal(plain, loud)


def test_the_engine_can_be_chosen(soundloom, base, sounds, tmp_path, monkeypatch):
    command = ("lora", "train", sounds, "--model", base, "--out", tmp_path / "out", *SHORT)
    done = soundloom(*command, "--engine", "jax")
    assert done.code != 0
    assert "no engine named 'jax'" in done.err
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    done = soundloom(*command, "--engine", "mlx", "--dry-run")
    assert done.code == 0, done.err
    assert "time: about" in done.out
    done = soundloom(*command, "--engine", "mlx", "--device", "cpu")
    assert done.code == 0, done.err
    assert (tmp_path / "out/state.safetensors").is_file()
    done = soundloom(*command, "--engine", "torch")
    assert "another engine" in done.err
    assert soundloom(*command, "--engine", "torch", "--restart").code == 0
    assert not (tmp_path / "out/state.safetensors").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "one process" in soundloom(*command, "--engine", "mlx", "--restart").err
