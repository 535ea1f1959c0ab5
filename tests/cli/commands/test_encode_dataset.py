import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from soundloom.datasets.examples import read_examples
from soundloom.datasets.opening import open_dataset

RATE = 44100
FINISHED = "[!.]*.json"  # and not what was being written when a run was killed
FORMATS = pytest.mark.parametrize("form", ["npy", "webdataset"])


def tone(path, hz, seconds=0.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE), RATE)


@pytest.fixture
def sounds(tmp_path):
    root = tmp_path / "sounds"
    for name, hz in (("a", 440), ("b", 880), ("deep/c", 220)):
        tone(root / f"{name}.wav", hz)
    (root / "a.txt").write_text("a tone\n")
    (root / "broken.mp3").write_bytes(b"no sound")
    return root


@pytest.fixture
def encode(soundloom, tiny_model_folder):
    def call(*arguments):
        return soundloom("encode", "--dataset", *arguments, "--model", tiny_model_folder)

    return call


def counts(done):
    found = json.loads(done.out)
    return found["encoded"], found["described"], found["unchanged"], len(found["skipped"])


@FORMATS
def test_a_folder_is_encoded_and_unreadable_files_are_reported(encode, sounds, form, tiny_model):
    done = encode(sounds, "out", "--format", form)
    assert done.code == 0
    assert done.out == "out: 3 encoded, 0 captions updated, 0 unchanged, 1 skipped, 2 without caption\n"
    assert "skipped broken.mp3: " in done.err
    items = {item.metadata["relpath"]: item for item in read_examples(open_dataset("out"))}
    assert list(items) == ["a.wav", "b.wav", "deep/c.wav"]
    assert items["a.wav"].captions == ("a tone",)
    assert items["a.wav"].seconds == pytest.approx(0.2)
    assert items["a.wav"].latents.shape == (256, 3)  # 8820 samples in frames of 4096
    from soundloom import Clip

    direct = tiny_model.encode(Clip.load(sounds / "a.wav"))
    assert np.array_equal(items["a.wav"].latents, direct[:, :3])


@FORMATS
def test_a_second_run_changes_nothing(encode, sounds, form, tmp_path):
    encode(sounds, "out", "--format", form)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
    assert counts(encode(sounds, "out", "--format", form, "--json")) == (0, 0, 3, 1)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
    assert after == before


@FORMATS
def test_only_what_changed_is_encoded_again(encode, sounds, form):
    encode(sounds, "out", "--format", form)
    old = {item.metadata["relpath"]: item for item in read_examples(open_dataset("out"))}
    tone(sounds / "b.wav", 1000)
    tone(sounds / "new.wav", 300)
    (sounds / "a.txt").write_text("other words\n")
    (sounds / "deep/c.wav").unlink()
    done = encode(sounds, "out", "--format", form, "--json")
    assert counts(done) == (2, 1, 0, 1)
    assert json.loads(done.out)["orphaned"] == 1
    new = {item.metadata["relpath"]: item for item in read_examples(open_dataset("out"))}
    assert not np.array_equal(new["b.wav"].latents, old["b.wav"].latents)
    assert np.array_equal(new["a.wav"].latents, old["a.wav"].latents)
    assert new["a.wav"].captions == ("other words",)


def test_another_model_encodes_everything_again(encode, soundloom, sounds, tmp_path):
    from soundloom.testing.stable_audio import make_random

    encode(sounds, "out")
    make_random("small-music", tmp_path / "other", layout="published", size="tiny", seed=5)
    done = soundloom("encode", "--dataset", sounds, "out", "--model", tmp_path / "other", "--json")
    assert counts(done) == (3, 0, 0, 1)


def test_a_killed_run_is_resumed(encode, sounds, tmp_path, tiny_model_folder):
    for i in range(30):
        tone(sounds / f"many/{i:02}.wav", 100 + 10 * i, 2.0)
    command = [sys.executable, "-m", "soundloom", "encode", "--dataset", sounds, "out", "--model", tiny_model_folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out = tmp_path / "out"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(out.glob(FINISHED))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(list(out.glob(FINISHED)))
    encoded, _, unchanged, _ = counts(encode(sounds, "out", "--json"))
    assert (encoded, unchanged) == (33 - there, there)
    assert len(list(read_examples(open_dataset("out")))) == 33


def test_the_latent_of_silence_is_saved(encode, sounds, tmp_path):
    encode(sounds, "out")
    assert np.load(tmp_path / "out/silence.npy").shape == (1, 256, 32)


def test_a_dataset_without_readable_files_fails(encode, sounds, tmp_path):
    shutil.rmtree(sounds / "deep")
    for name in ("a", "b"):
        (sounds / f"{name}.wav").write_bytes(b"")
    done = encode(sounds, "out")
    assert done.code == 1
    assert done.out == "out: 0 encoded, 0 captions updated, 0 unchanged, 3 skipped\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--dataset", "sounds"), "--dataset needs an output folder"),
        (("--dataset", "absent", "out"), "there is no folder or file absent"),
        (("--dataset", "empty", "out"), "empty contains no audio files"),
        (("--dataset", "sounds", "sounds/out"), "is inside the dataset sounds"),
        (("sounds/a.wav", "out"), "OUT requires --dataset"),
    ],
)
def test_invalid_requests_are_rejected(soundloom, sounds, tiny_model_folder, arguments, sentence):
    os.makedirs("empty")  # noqa: PTH103
    done = soundloom("encode", *arguments, "--model", tiny_model_folder)
    assert done.code in (1, 2)
    assert sentence in done.err


def test_formats_are_not_mixed(encode, sounds):
    encode(sounds, "out")
    assert "another format than webdataset" in encode(sounds, "out", "--format", "webdataset").err
