import json
import os

import numpy as np
import pytest
import soundfile

from soundloom.audio.metadata import read_record


@pytest.fixture
def latents(soundloom, source, tiny_model_folder):
    made = soundloom("encode", source, "--model", tiny_model_folder, "-o", "new/latents.npy")
    assert (made.code, made.out) == (0, "new/latents.npy\n")
    return "new/latents.npy"


def test_encode_and_decode_match_the_python_api(soundloom, latents, tiny_model_folder, tiny_model):
    done = soundloom("decode", latents, "--model", tiny_model_folder, "-o", "back.wav", "--seconds", 0.5, "--json")
    assert done.code == 0
    assert json.loads(done.out)["seconds"] == 0.5
    whole = tiny_model.decode(np.load(latents), samples=22050)
    assert np.array_equal(soundfile.read("back.wav", dtype="float32")[0], whole.audio.T)
    assert read_record("back.wav")["mode"] == "decode"


def test_outputs_are_named_after_inputs(soundloom, source, tiny_model_folder, tmp_path):
    assert soundloom("encode", source, "--model", tiny_model_folder).out == f"{tmp_path}/source.npy\n"
    assert np.load("source.npy").shape[0] == 256
    before = source.read_bytes()
    assert "source.wav exists already" in soundloom("decode", "source.npy", "--model", tiny_model_folder).err
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 4), np.float32), "decodes latents (256, frames), found shape (3, 4)"),
        (np.full((256, 4), np.inf, np.float32), "not finite"),
        (np.array([{}]), "is not a NumPy array"),
        (np.array(["a", "b"]), "latents must be real numbers, found an array of <U1"),
        (np.float32(1), "found shape ()"),
    ],
)
def test_invalid_latents(soundloom, tiny_model_folder, array, sentence):
    np.save("x.npy", array)
    done = soundloom("decode", "x.npy", "--model", tiny_model_folder)
    assert done.code in (1, 2)
    assert sentence in done.err
    assert sorted(name for name in os.listdir() if not name.startswith(".set")) == ["x.npy"]  # noqa: PTH208


def test_archives_are_rejected(soundloom, tiny_model_folder, tmp_path):
    np.savez("x.npz", np.zeros((256, 4)))
    (tmp_path / "broken.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:99])
    for name in ("x.npz", "broken.npz"):
        done = soundloom("decode", name, "--model", tiny_model_folder)
        assert (done.code, done.out) == (1, "")
        assert f"{name} is not a NumPy array" in done.err
        assert ".npy file" in done.err


def test_missing_latents(soundloom, source, tiny_model_folder):
    assert "there is no file y.npy" in soundloom("decode", "y.npy", "--model", tiny_model_folder).err
    assert "is not a NumPy array" in soundloom("decode", source, "--model", tiny_model_folder, "-o", "x.wav").err
    assert "--seconds must be a number above 0" in soundloom("decode", "y.npy", "--seconds", 0).err
