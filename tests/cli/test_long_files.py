"""Files are edited and encoded without loading them into memory."""

import json
import logging
import sys

import numpy as np
import pytest
import soundfile

from benchmarks import long_files
from soundloom.audio.clip import Clip
from soundloom.audio.loudness import integrated_loudness
from soundloom.audio.metadata import read_record
from tests.cli.commands.test_edits import integers
from tests.cli.conftest import RATE

REGION = ("--region", "0.1,0.2")
INSIDE = slice(4800, 9600)


def outside(array):
    return np.delete(array, INSIDE, axis=0)


@pytest.fixture
def no_whole_files(monkeypatch):
    """Fail if a file is loaded into memory."""

    def refuse(*_, **__):
        raise AssertionError("a file was read into memory")

    monkeypatch.setattr(Clip, "load", refuse)
    monkeypatch.setattr("soundloom.audio.streamed_clip.StreamedClip.loaded", refuse)
    monkeypatch.setattr("soundloom.audio.streamed_clip.StreamedClip.audio", property(refuse))


@pytest.mark.usefixtures("no_whole_files")
@pytest.mark.parametrize("command", ["inpaint", "vary", "generate"])
def test_a_region_of_a_file_is_replaced_in_place(make, source, command):
    before = integers(source)
    words = ("hum", "--init-audio", source) if command == "generate" else (source, "hum")
    made = make(command, *words, *REGION, "-o", source, "--overwrite", "--sidecar")
    assert made.code == 0
    assert np.array_equal(outside(integers(source)), outside(before))
    assert not np.array_equal(integers(source), before)
    assert read_record(source)["mode"] == json.loads(source.with_suffix(".json").read_text())["mode"] == "inpaint"


@pytest.mark.usefixtures("no_whole_files")
def test_output_flags_work_on_streamed_edits(make, source):
    made = make("extend", source, "hum", "--seconds", 0.1, "--rate", 44100, "--lufs", -20, "-o", "a.flac", "--json")
    (clip,) = json.loads(made.out)["clips"]
    assert (clip["seconds"], clip["sample_rate"], clip["channels"]) == (0.6, RATE, 2)  # of what was made
    audio, rate = soundfile.read("a.flac", dtype="float32", always_2d=True)
    assert (len(audio), rate) == (round(0.6 * 44100), 44100)
    assert integrated_loudness(audio.T, rate) == pytest.approx(-20, abs=0.01)


def test_streamed_edits_are_those_of_the_python_interface(make, source, tiny_model):
    make("inpaint", source, "hum", *REGION, "--seed", 3, "-o", "edit.wav")
    clip = tiny_model.inpaint(Clip.load(source), [(0.1, 0.2)], "hum", seed=3, steps=1)
    assert np.array_equal(integers("edit.wav"), integers(clip.save("python.wav")))


@pytest.mark.usefixtures("no_whole_files")
def test_an_edit_is_played_from_its_file(make, source, monkeypatch):
    heard = []
    monkeypatch.setattr("soundloom.audio.playback.find_player", lambda: ("player",))
    monkeypatch.setattr(
        "soundloom.audio.playback.play", lambda clip: heard.append((clip.samples, clip.stream().peak()))
    )
    assert make("inpaint", source, *REGION, "--play", "-o", "edit.wav").code == 0
    ((samples, peak),) = heard
    assert samples == RATE // 2
    assert peak > 0.1


@pytest.mark.usefixtures("no_whole_files")
def test_a_source_above_full_scale_stays_float_or_is_attenuated(make, tmp_path):
    source = tmp_path / "hot.wav"
    audio = np.random.default_rng(0).uniform(-2, 2, (RATE // 2, 2)).astype(np.float32)
    soundfile.write(source, audio, RATE, subtype="FLOAT")
    kept = make("inpaint", source, *REGION, "-o", "kept.wav")
    assert kept.code == 0
    assert np.array_equal(outside(soundfile.read("kept.wav", dtype="float32")[0]), outside(audio))
    made = make("inpaint", source, *REGION, "-o", "down.flac")
    assert "the clip was attenuated by 6.02 dB" in made.err
    down = soundfile.read("down.flac", dtype="float32")[0]
    np.testing.assert_allclose(outside(down), outside(audio) / np.abs(audio).max(), atol=2**-22)


def test_surround_sources_are_reduced_to_two_channels_with_a_warning(make, tmp_path):
    source = tmp_path / "surround.wav"
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE // 2, 6))
    soundfile.write(source, audio, RATE, subtype="PCM_16", format="WAVEX")
    made = make("inpaint", source, *REGION, "-o", "edit.wav")
    note = "the audio has 6 channels; only the first two are used"
    assert note in made.err
    assert note in read_record("edit.wav")["warnings"]
    assert np.array_equal(outside(integers("edit.wav")), outside(integers(source)[:, :2]))


@pytest.mark.parametrize("before", [(), ("--before",)])
def test_an_extension_of_less_than_a_sample_fails(make, source, before):
    refused = make("extend", source, "--seconds", 1e-6, *before, "-o", "a.wav")
    assert refused.code == 2
    assert "1e-06 s are less than one sample at 48000 Hz" in refused.err


@pytest.mark.usefixtures("no_whole_files")
@pytest.mark.parametrize("channels", [1, 6])
def test_files_are_encoded_in_chunks(soundloom, tiny_model_folder, tiny_model, tmp_path, monkeypatch, channels, caplog):
    monkeypatch.setattr("soundloom.pipeline.stable_audio.chunks.CHUNK", 16)
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (channels, 22050 * 6)).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", audio.T, 22050, subtype="PCM_24")
    with caplog.at_level(logging.WARNING):
        assert soundloom("encode", tmp_path / "a.flac", "-o", "a.npy", "--model", tiny_model_folder).code == 0
    assert ("6 channels; only the first two" in caplog.text) == (channels == 6)
    stored = soundfile.read(tmp_path / "a.flac", dtype="float32", always_2d=True)[0].T
    latents = np.load("a.npy")
    assert np.array_equal(latents, tiny_model.encode(Clip(stored, 22050)))
    monkeypatch.setattr("soundloom.pipeline.stable_audio.chunks.CHUNK", 128)
    np.testing.assert_allclose(latents, tiny_model.encode(Clip(stored, 22050)), atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of child processes are only known on Linux")
@pytest.mark.parametrize("name", ["inpaint 2 s", "extend by 1 s", "encode"])
def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path, name):
    peaks = []
    for seconds in (20, 600):
        path = tmp_path / f"{seconds}.wav"
        long_files.make_file(path, seconds)
        peaks.append(long_files.measure(long_files.commands(path, seconds)[name])["peak"])
    as_float = 580 * long_files.RATE * long_files.CHANNELS * 4
    assert peaks[1] - peaks[0] < 0.15 * as_float
