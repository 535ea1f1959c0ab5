"""`soundloom loop`, and loops and lengths in bars of `soundloom generate`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record

QUICK = ("--steps", "1", "--keep-bad", "-q")


@pytest.fixture
def rain(tmp_path):
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 66_150)).astype(np.float32)
    return Clip(audio, 44100).save(tmp_path / "rain.wav")


def test_a_loop_of_bars(soundloom):
    done = soundloom("generate", "kick drum loop, 129 BPM", "--loop", "--bars", "2", "-o", "a.wav", *QUICK)
    assert done.code == 0, done.err
    assert soundfile.info("a.wav").frames == round(2 * 4 * 60 / 129 * 44100)
    assert read_record("a.wav")["loop"] == {"bpm": 129.0, "bars": 2.0, "meter": "4/4", "beats": 8}


def test_tempo_meter_and_seam_are_flags(soundloom):
    flags = ("--loop", "--bars", "1", "--bpm", "100", "--meter", "3/4", "--seam", "0.2")
    done = soundloom("generate", "kick", *flags, "-o", "a.wav", *QUICK)
    assert "the tempo was added to the prompt: kick, 100 BPM" in done.err
    record = read_record("a.wav")
    assert soundfile.info("a.wav").frames == 79_380
    assert (record["request"]["seam"], record["request"]["meter"]) == (0.2, "3/4")


def test_like_repeats_a_loop_and_flags_change_it(soundloom):
    soundloom("generate", "kick, 129 BPM", "--loop", "--bars", "1", "--seed", "3", "-o", "a.wav", *QUICK)
    soundloom("generate", "--like", "a.wav", "-o", "b.wav", "--keep-bad", "-q")
    assert Clip.load("a.wav").sha256() == Clip.load("b.wav").sha256()
    soundloom("generate", "--like", "a.wav", "--bars", "2", "-o", "c.wav", "--keep-bad", "-q")
    assert soundfile.info("c.wav").frames == round(8 * 60 / 129 * 44100)
    soundloom("generate", "--like", "a.wav", "--seconds", "1", "-o", "d.wav", "--keep-bad", "-q")
    assert soundfile.info("d.wav").frames == 44_100


def test_files_are_looped_beside_themselves(soundloom, rain):
    soundloom("trim", "rain.wav", "--end", "1", "-o", "b.flac")
    done = soundloom("loop", "rain.wav", "b.flac", "-p", "rain", "--json", *QUICK)
    found = json.loads(done.out)
    assert [clip["mode"] for clip in found["clips"]] == ["loop", "loop"]
    assert found["files"] == ["rain-loop.wav", "b-loop.flac"]
    source, looped = Clip.load(rain), Clip.load("rain-loop.wav")
    assert looped.samples == source.samples
    assert np.array_equal(looped.audio[:, 16_000:-16_000], source.audio[:, 16_000:-16_000])


def test_a_word_is_a_file_or_the_prompt(soundloom, rain):
    assert soundloom("loop", "rain.wav", "rain", *QUICK).code == 0
    assert read_record("rain-loop.wav")["request"]["prompt"] == "rain"
    for words, message in {
        ("rain.wav", "rian.wav"): "there is no file rian.wav",
        ("rian.wav",): "rian.wav cannot be opened",
        ("rain.wav", "a", "b"): "found 2 prompts",
    }.items():
        failed = soundloom("loop", *words)
        assert failed.code != 0 and message in failed.err


def test_the_first_bars_of_a_file(soundloom, rain):
    assert soundloom("loop", "rain.wav", "--bars", "1", "--bpm", "200", "-o", "a.wav", *QUICK).code == 0
    assert soundfile.info("a.wav").frames == 52_920
    failed = soundloom("loop", "rain.wav", "--bars", "4", "--bpm", "120")
    assert failed.code == 2 and "the clip is 1.5 s long, and 4 bars of 4/4 at 120 BPM last 8 s" in failed.err
    assert "needs a tempo" in soundloom("loop", "rain.wav", "--bars", "4").err


def test_a_source_is_snapped_to_the_tempo_before_it_is_looped(soundloom, tmp_path):
    times = np.arange(6 * 44100) / 44100
    clicks = 0.5 * np.sin(2 * np.pi * 300 * times) * np.exp(-30 * (times % (60 / 118)))
    Clip(np.stack([clicks, clicks]).astype(np.float32), 44100).save(tmp_path / "a.wav")
    done = soundloom("loop", "a.wav", "clicks", "--snap-tempo", "120", "--bars", "2", "-o", "b.wav", *QUICK)
    assert done.code == 0, done.err
    assert soundfile.info("b.wav").frames == 4 * 44_100
    assert read_record("b.wav")["loop"]["beats"] == 8


@pytest.mark.parametrize(("bars", "rate"), [("1", "22050"), ("2", "22050"), ("2", "48000"), ("1", "11025")])
def test_a_loop_at_another_rate_has_the_exact_length_too(soundloom, bars, rate):
    flags = ("--loop", "--bars", bars, "--rate", rate, "-o", "a.wav", *QUICK)
    assert soundloom("generate", "kick drum loop, 129 BPM", *flags).code == 0
    assert soundfile.info("a.wav").frames == round(int(bars) * 4 * 60 / 129 * int(rate))


@pytest.fixture
def clicks(tmp_path):
    """Write six seconds of clicks at 118 BPM, which measures as that."""
    times = np.arange(6 * 44100) / 44100
    audio = 0.5 * np.sin(2 * np.pi * 300 * times) * np.exp(-30 * (times % (60 / 118)))
    Clip(np.stack([audio, audio]).astype(np.float32), 44100).save(tmp_path / "a.wav")


def test_bars_of_a_snapped_source_follow_its_new_tempo(soundloom, clicks):
    pytest.importorskip("python_stretch", reason="python-stretch is not installed")
    flags = ("clicks", "--snap-tempo", "120", "--bars", "2", *QUICK)
    assert soundloom("loop", "a.wav", *flags, "--bpm", "118", "-o", "b.wav").code == 0
    assert soundfile.info("b.wav").frames == 4 * 44_100
    record = read_record("b.wav")
    assert record["loop"]["bpm"] == 120
    assert record["source"]["snap_tempo"]["measured"] == pytest.approx(118, rel=0.005)


def test_a_source_that_cannot_be_snapped_keeps_its_tempo(soundloom, clicks):
    pytest.importorskip("python_stretch", reason="python-stretch is not installed")
    done = soundloom("loop", "a.wav", "clicks, 118 BPM", "--snap-tempo", "150", "-o", "b.wav", *QUICK)
    assert "--snap-tempo left the clip as it is" in done.err and "150 BPM was requested" not in done.err
    assert read_record("b.wav")["loop"]["bpm"] == 118
    soundloom("loop", "a.wav", "clicks", "--snap-tempo", "150", "-o", "b.wav", *QUICK)
    assert "bpm" not in read_record("b.wav")["loop"]


def test_a_loop_that_is_snapped_keeps_its_bars(soundloom):
    flags = ("--loop", "--bars", "2", "--meter", "3/4", "--seed", "1", "-o", "a.wav", *QUICK)
    soundloom("generate", "kick drum loop, 129 BPM", *flags)
    done = soundloom("loop", "a.wav", "--snap-tempo", "128", "-o", "b.wav", *QUICK)
    assert done.code == 0, done.err
    assert read_record("b.wav")["loop"] == {"bpm": 128.0, "bars": 2.0, "meter": "3/4", "beats": 6}
    assert soundfile.info("b.wav").frames == round(6 * 60 / 128 * 44_100)
    soundloom("loop", "a.wav", "-o", "c.wav", *QUICK)
    assert read_record("c.wav")["loop"] == read_record("a.wav")["loop"]


def test_an_edit_takes_its_length_from_the_bars(soundloom, rain):
    done = soundloom("generate", "rain, 200 BPM", "--init-audio", "rain.wav", "--bars", "1", "-o", "a.wav", *QUICK)
    assert done.code == 0 and soundfile.info("a.wav").frames == 52_920
    assert read_record("a.wav")["mode"] == "vary"
    done = soundloom("generate", "rain", "--init-audio", "rain.wav", "--loop", "-o", "b.wav", *QUICK)
    assert read_record("b.wav")["mode"] == "loop"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--bars", "x"), "--bars x is neither a number of bars nor a range of them"),
        (("--bars", "2", "--bars", "3"), "--bars gives 2 lengths: 2, 3"),
        (("--bars", "2"), "a length in bars needs a tempo"),
        (("-p", "rain at 90 or 120 BPM", "--bars", "2"), "name one tempo in the prompt"),
        (("--bars", "2", "--bpm", "nan"), "a tempo must be 10 to 1000 BPM, found nan"),
        (("--bars", "2", "--bpm", "120", "--seconds", "3"), "--bars and --seconds are both lengths"),
        (("--bars", "2", "--bpm", "120", "--meter", "4"), "'4' is not a time signature"),
        (("--loop", "--noise", "0.5"), "a loop has no regions, noise or offset"),
        (("--loop", "--snap-tempo", "120"), "--snap-tempo would stretch the seam of a loop"),
        (("--loop", "--seam", "0"), "seam must be between 0.02 and 10, found 0"),
        (("--seconds", "12", "--no-passes"), "one pass generates at most 5.8 s"),
    ],
)
def test_wrong_flags_are_refused_in_a_sentence(soundloom, flags, message):
    failed = soundloom("generate", "rain", *flags)
    assert (failed.code, failed.out) == (2, "")
    assert message in failed.err


def test_flags_without_effect_are_named(soundloom):
    assert "--seam has no effect without --loop" in soundloom("generate", "rain", "--seam", "1", *QUICK).err
