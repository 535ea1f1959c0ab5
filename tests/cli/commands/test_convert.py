import json

import pytest

from soundloom.checkpoints.stable_audio.open import open_checkpoint


def test_a_model_is_converted_and_the_loss_reported(soundloom, tiny_model_folder):
    done = soundloom("convert", tiny_model_folder, "out", "--layout", "int8", "--group-size", 32)
    first, *parts = done.out.splitlines()
    assert (done.code, first) == (0, "out: published to int8")
    assert [part.split(":")[0] for part in parts] == ["transformer", "conditioner", "autoencoder", "text encoder"]
    assert "tensors rounded, relative error" in parts[0]
    assert "tensors exact" in parts[2]
    assert open_checkpoint("out").layout == "int8"


def test_convert_writes_the_named_layout(soundloom, tiny_model_folder):
    found = json.loads(soundloom("convert", tiny_model_folder, "out", "--layout", "int4", "--json").out)
    assert (found["to"], found["parts"][0]["part"]) == ("int4", "transformer")


def test_a_converted_model_generates(soundloom, tiny_model_folder):
    assert soundloom("convert", tiny_model_folder, "out", "--layout", "int4").code == 0
    made = soundloom("generate", "rain", "--model", "out", "--seconds", 0.1, "--steps", 1, "-o", "rain.wav")
    assert (made.code, made.out) == (0, "rain.wav\n")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "convert requires --layout LAYOUT"),
        (["--bits", 3], "invalid choice: '3'"),
        (["--layout", "int4", "--bits", 8], "int8 contradicts int4"),
        (["--bits", 4, "--layout", "npz"], "npz contradicts int4"),
        (["--layout", "int4", "--group-size", 48], "the group size cannot be 48"),
    ],
)
def test_invalid_requests_are_rejected(soundloom, tiny_model_folder, tmp_path, flags, sentence):
    for model in (tiny_model_folder, "small-music"):  # the latter would have to be fetched
        done = soundloom("convert", model, "out", *flags)
        assert done.code == 2
        assert sentence in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [("convert", "--layout", "npz"), ("quantize",)])
def test_a_folder_with_content_is_rejected_before_a_download(soundloom, tmp_path, command):
    (tmp_path / "mine.txt").touch()
    done = soundloom(command[0], "small-music", tmp_path, *command[1:])
    assert done.code == 2
    assert "is not an empty folder" in done.err
