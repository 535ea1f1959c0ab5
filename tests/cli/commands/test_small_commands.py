"""`trim` and `play`, mono output, and flags without effect."""

import json
import sys

import numpy as np
import pytest
import soundfile

from soundloom.audio.metadata import read_record
from tests.cli.conftest import RATE, files_in


def test_trim_preserves_samples_rate_and_depth(soundloom, source):
    done = soundloom("trim", source, "--start", 0.1, "--end", 0.3)
    assert done.paths == [source.with_name("source-trim.wav")]
    whole, part = (soundfile.read(path, dtype="int16")[0] for path in (source, done.paths[0]))
    assert np.array_equal(part, whole[round(0.1 * RATE) : round(0.3 * RATE)])
    info = soundfile.info(done.paths[0])
    assert (info.samplerate, info.subtype, info.channels) == (RATE, "PCM_16", 2)


def test_a_section_defaults_to_the_end_and_records_its_source(make, soundloom):
    make("generate", "rain", "--seconds", 0.2, "-o", "x.wav")
    done = soundloom("trim", "x.wav", "--start", 0.05, "-o", "y.flac", "--json")
    assert json.loads(done.out) == {"files": ["y.flac"], "seconds": pytest.approx(0.15)}
    record = read_record("y.flac")
    assert (record["mode"], record["trim"], record["request"]["prompt"]) == ("trim", [0.05, 0.2], "rain")


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (("--start", "0.3", "--end", "0.1"), 2, "the file is 0.5 s long; it has no section from 0.3 to 0.1 s"),
        (("--end", "0.6"), 2, "has no section from 0 to 0.6 s"),
        (("--start", "-1"), 2, "has no section from -1 to 0.5 s"),
        (("--start", "nan"), 2, "has no section from nan"),
        (("--start", "0.5"), 2, "has no section from 0.5 to 0.5 s"),
        ((), 2, "nothing says what to keep\nhint: soundloom trim"),
        (("--end", "0.1", "-o", "source.wav"), 2, "the output source.wav is the source"),
        (("--end", "0.1", "-o", "x.aiff"), 1, "unsupported suffix"),
    ],
)
def test_sections_outside_the_file(soundloom, source, tmp_path, flags, code, sentence):
    before = source.read_bytes()
    refused = soundloom("trim", source, *flags)
    assert (refused.code, refused.out) == (code, "")
    assert sentence in refused.err
    assert (files_in(tmp_path), source.read_bytes()) == (["source.wav"], before)


def test_a_default_name_never_overwrites_a_file(soundloom, source):
    soundloom("trim", source, "--end", 0.1)
    refused = soundloom("trim", source, "--end", 0.2)
    assert refused.code == 1
    assert "source-trim.wav exists already\nhint: replace it by naming it with -o" in refused.err
    assert soundloom("trim", source, "--end", 0.2, "-o", source.with_name("source-trim.wav")).code == 0


@pytest.mark.parametrize("command", [("vary",), ("inpaint", "--region", "0.05-0.1"), ("extend", "--seconds", 0.1)])
def test_edits_accept_a_section_of_the_source(make, source, command):
    done = make(command[0], source, "hum", *command[1:], "--trim", "0.1,0.3", "-o", "x.wav")
    seconds = 0.3 if command[0] == "extend" else 0.2
    assert soundfile.info("x.wav").frames == round(seconds * RATE), done.err
    assert "has no section from 0.1 to 9 s" in make(command[0], source, "hum", *command[1:], "--trim", "0.1,9").err


@pytest.mark.parametrize("text", ["0.1,0.2", "0.1-0.2", "1e-1-2e-1"])
def test_regions_are_written_with_a_comma_or_a_dash(make, source, text):
    made = make("inpaint", source, "hum", "--region", text, "-o", "x.wav")
    assert read_record("x.wav")["request"]["regions"] == [[0.1, 0.2]], made.err


@pytest.mark.parametrize("text", ["1-2", "1,2", "1.1 - 2"])
def test_bars_are_written_with_a_comma_or_a_dash(make, source, text):
    made = make("inpaint", source, "hum", "--bars", text, "--bpm", 600, "-o", "x.wav")
    assert read_record("x.wav")["request"]["regions"] == [[0.0, 0.4]], made.err


def test_one_channel_is_the_mean_of_both(make, source):
    make("generate", "rain", "--seconds", 0.1, "--seed", 1, "--subtype", "float", "-o", "two.wav")
    make("generate", "rain", "--seconds", 0.1, "--seed", 1, "--subtype", "float", "-o", "one.wav", "--channels", 1)
    two, one = soundfile.read("two.wav")[0], soundfile.read("one.wav")[0]
    assert one.shape == (4410,)
    assert np.allclose(one, two.mean(axis=1), atol=1e-6)
    edit = make("inpaint", source, "hum", "--region", "0.1,0.2", "--channels", 1, "-o", "edit.wav")
    assert soundfile.info("edit.wav").channels == 1
    assert "the preserved samples will not be bit-identical to the source: --channels 1 mixes them to one" in edit.err


def test_latents_are_npy_files(soundloom, tiny_model_folder, source, tmp_path):
    refused = soundloom("encode", source, "-o", "y.wav", "--model", tiny_model_folder)
    assert (refused.code, files_in(tmp_path)) == (2, ["source.wav"])
    assert "latents are saved as .npy files, not as y.wav\nhint: -o y.npy" in refused.err


# Playing


@pytest.fixture
def player(tmp_path, monkeypatch):
    """Install a fake player."""
    folder = tmp_path / ".settings"
    folder.mkdir(exist_ok=True)

    def install(script, name="afplay" if sys.platform == "darwin" else "aplay"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    monkeypatch.setenv("PATH", str(folder))
    return install


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in player is a shell script")


def test_files_are_played_in_order(soundloom, source, player, tmp_path):
    player(f"echo played >> {tmp_path}/.settings/heard")
    assert soundloom("play", source, source).code == 0
    assert (tmp_path / ".settings" / "heard").read_text() == "played\n" * 2


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_clip_is_saved_if_playback_fails(make, player, tmp_path, flags):
    player("echo no sound card >&2; exit 1")
    made = make("generate", "rain", "--seconds", 0.1, "-o", "x.wav", "--play", *flags)
    assert made.code == 1
    assert "could not play the clip: no sound card" in made.err
    assert soundfile.info("x.wav").frames == 4410
    assert (json.loads(made.out)["files"] if flags else made.out.split()) == ["x.wav"]


def test_ffplay_without_a_device_is_an_error(soundloom, source, player):
    player("echo 'audio open failed' >&2", "ffplay")
    failed = soundloom("play", source)
    assert failed.code == 1
    assert "ffplay could not play the clip: audio open failed" in failed.err


def test_a_missing_player_is_reported_first(soundloom, player):
    assert "no audio player is installed" in soundloom("play", "nowhere.wav").err


# Flags without effect


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        (("--crossfade", 0.1), "--crossfade has no effect without regions, a loop or an extension"),
        (("--noise", 1), "--noise has no effect without --init-audio"),
        (("--meter", "3/4"), "--meter has no effect without --bars"),
        (("--no-chunked-decode",), "--no-chunked-decode has no effect because"),
        (("--subtype", "float", "--peak", "clip"), "--peak clip has no effect on float samples"),
        (("--apg", 0.5), "guidance settings have no effect without guidance; set a scale above 1 (--cfg)"),
        (("--negative-prompt", "hum"), "a negative prompt has no effect without guidance"),
    ],
)
def test_unused_flags_of_generate_warn(make, flags, warning):
    assert warning in make("generate", "rain", "--seconds", 0.1, "-o", "x.wav", *flags).err


def test_unused_flags_of_edits_warn(make, source):
    assert "--crossfade has no effect" in make("vary", source, "hum", "--crossfade", 0.1, "-o", "x.wav").err
    assert (
        "the source audio has no effect at --noise 1, except its length"
        in make("vary", source, "hum", "--noise", 1, "-o", "x.wav").err
    )
    quiet = make("inpaint", source, "hum", "--region", "0.1,0.2", "--crossfade", 0.005, "-o", "x.wav").err
    assert "has no effect" not in quiet
    assert "has no effect" not in make("extend", source, "--seconds", 0.1, "--crossfade", 0.005, "-o", "x.wav").err


def test_contradictory_precisions(make):
    refused = make("generate", "rain", "--no-half", "--precision", "bf16")
    assert refused.code == 2
    assert "--no-half means --precision fp32, but --precision bf16 was given too" in refused.err
