"""Checks of training sets: all faults are reported at once, before anything is encoded."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from soundloom.config.catalogue import published_config
from soundloom.config.stable_audio.model import parse_model_config
from soundloom.datasets.latents import npy_bytes
from soundloom.errors import TrainingError
from soundloom.training.lora.checks import advice
from soundloom.training.lora.setup import check

MODEL = parse_model_config(published_config("small-music-base"))
RATE = 8000


def write(folder, name, seconds=1.0, level=0.3, caption="a sound", rate=RATE, seed=0):
    noise = level * np.random.default_rng(seed + int(100 * seconds)).uniform(-1, 1, int(seconds * rate))
    soundfile.write(folder / f"{name}.wav", noise.astype(np.float32), rate)
    if caption is not None:
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")


def report_of(folder, **options):
    return check(folder, MODEL, options.pop("batch_size", 1), options.pop("skip_faulty", False))[1]


def test_all_faults_are_reported_at_once(tmp_path):
    write(tmp_path, "good")
    write(tmp_path, "silent", level=0.0)
    write(tmp_path, "quiet", level=1e-4)
    write(tmp_path, "mute", caption=None)
    write(tmp_path, "blank", caption=" \n")
    write(tmp_path, "short", seconds=0.01)
    (tmp_path / "broken.wav").write_bytes(b"RIFF and then nothing")
    report = report_of(tmp_path)
    assert [clip.origin for clip in report.usable] == ["good.wav"]
    with pytest.raises(TrainingError) as raised:
        report.require_usable()
    message = raised.value.args[0]
    for part in (
        "2 clips: has no caption: blank.wav, mute.wav",
        "2 clips: is silent: its peak is below -60 dBFS: quiet.wav, silent.wav",
        "short.wav lasts only 0.01 s",
        "broken.wav",
    ):
        assert part in message
    assert "--skip-faulty" in raised.value.hint


def test_faulty_clips_can_be_left_out(tmp_path):
    write(tmp_path, "good")
    write(tmp_path, "silent", level=0.0)
    report = report_of(tmp_path, skip_faulty=True)
    report.require_usable()
    assert any("silent" in warning for warning in report.warnings)


def test_a_set_without_captions_is_one_error(tmp_path):
    for name in "abc":
        write(tmp_path, name, caption=None)
    report = report_of(tmp_path, skip_faulty=True)
    assert len(report.errors) == 1
    assert "none of the 3 clips has a caption" in report.errors[0]
    with pytest.raises(TrainingError):
        report.require_usable()


def test_an_empty_folder_is_an_error(tmp_path):
    (error,) = report_of(tmp_path).errors
    assert error.startswith("the training set has no clips")


def test_what_may_be_unintended_is_a_warning(tmp_path):
    write(tmp_path, "loud", level=0.9, caption="loud")
    write(tmp_path, "soft", level=0.05, caption="soft", rate=16000, seconds=1.5)
    write(tmp_path, "copy", level=0.9, caption="other")
    text = "\n".join(report_of(tmp_path, batch_size=4).warnings)
    for part in (
        "3 clips are fewer than a batch of 4",
        "levels differ by 24 dB",
        "--loudness -16",
        "2 captions are names of files: loud.wav, soft.wav",
        "1 clips appear more than once, the first: copy.wav, loud.wav",
        "resampled to 44100 Hz: 2 at 8000 Hz, 1 at 16000 Hz",
    ):
        assert part in text, text


def test_one_caption_for_all_is_a_warning(tmp_path):
    for number, name in enumerate("ab"):
        write(tmp_path, name, seed=number)
    assert any("the same caption, 'a sound'" in warning for warning in report_of(tmp_path).warnings)


def test_clips_of_one_second_and_of_ten_minutes_are_usable(tmp_path):
    write(tmp_path, "short", seconds=1.0)
    write(tmp_path, "long", seconds=600.0)
    report = report_of(tmp_path)
    assert len(report.usable) == 2
    assert any("longer than the 384 s that the model tells apart: long.wav" in warning for warning in report.warnings)


def latents(folder, name, array, **metadata):
    (folder / f"{name}.npy").write_bytes(npy_bytes(array))
    (folder / f"{name}.json").write_text(json.dumps(metadata))


def test_latents_of_other_trainers_are_read(tmp_path):
    array = np.random.default_rng(0).standard_normal((256, 20)).astype(np.float32)
    numbered = {"prompt": "piano", "seconds_total": 2, "seconds_start": 0, "padding_mask": [1] * 15 + [0] * 5}
    latents(tmp_path, "0000000003", array[None], **numbered)
    tagged = {"seconds_total": 1.858, "latent_shape": [256, 20], "genre": "techno", "bpm": 130}
    latents(tmp_path, "track", array, **tagged, padding_mask=[1] * 20)
    (tmp_path / "details.json").write_text("{}")
    report = report_of(tmp_path)
    assert report.errors == ()
    assert {clip.origin: clip.frames for clip in report.usable} == {"0000000003.npy": 15, "track.npy": 20}
    assert any("techno" in caption for caption in report.usable[1].captions)


def test_latents_of_another_model_are_refused(tmp_path):
    latents(tmp_path, "other", np.ones((64, 9), np.float32), prompt="x", seconds_total=1)
    assert "has 64 latent channels, and the model has 256" in report_of(tmp_path).errors[0]


def test_advice_depends_on_the_size_of_the_set():
    assert "rank 4 to 8" in advice(4, 16)
    assert "rank 16 and" in advice(30, 1200)
    assert "rank 32" in advice(1000, 90_000)
