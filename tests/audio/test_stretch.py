import sys

import numpy as np
import pytest

from soundloom import Clip
from soundloom.audio.stretch import snap_tempo, stretch
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.errors import AudioError, RequestError


@pytest.fixture(autouse=True)
def library():
    pytest.importorskip("python_stretch", reason="python-stretch is not installed")


def loop(bpm, seconds=6.0):
    labels = Labels("drum loop", "house", bpm=bpm, material="acoustic")
    return Clip(render(labels, seconds, np.random.default_rng(0)), SAMPLE_RATE, {"seed": 1})


def clicks(rate, channels=2):
    """Short decaying tones every half second, the first at the start."""
    audio, t = np.zeros((channels, 4 * rate), np.float32), np.arange(rate // 20) / rate
    for start in range(0, 4 * rate, rate // 2):
        audio[:, start : start + len(t)] = np.exp(-t / 0.005) * np.sin(2 * np.pi * 1000 * t)
    return audio


@pytest.mark.parametrize("rate", [22050, 44100, 96000])
@pytest.mark.parametrize("ratio", [0.97, 0.995, 1.01, 1.03])
def test_a_stretch_has_the_exact_length_and_moves_every_attack(rate, ratio):
    audio = clicks(rate)
    done = stretch(Clip(audio, rate), ratio)
    assert done.samples == round(4 * rate * ratio)
    for start in np.arange(0, 4, 0.5):
        first = max(0, round((start * ratio - 0.1) * rate))
        part = np.abs(done.audio[0, first : first + rate // 4])
        at = (first + int(part.argmax())) / rate
        assert at == pytest.approx(start * ratio, abs=0.0025)  # the maximum of the attack itself is at 0.25 ms
        assert part.max() == pytest.approx(np.abs(audio).max(), rel=0.25)


def test_the_pitch_stays():
    t = np.arange(3 * 44100) / 44100
    done = stretch(Clip((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 44100), 1.03)
    spectrum = np.abs(np.fft.rfft(done.audio[0] * np.hanning(done.samples)))
    assert spectrum.argmax() * 44100 / done.samples == pytest.approx(440, abs=0.5)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("samples", [0, 1, 1000])
def test_short_clips_of_any_channels_are_stretched(channels, samples):
    done = stretch(Clip(np.ones((channels, samples), np.float32), 48000), 1.02)
    assert done.audio.shape == (channels, round(samples * 1.02))


def test_the_same_stretch_gives_the_same_samples():
    clip = Clip(clicks(44100), 44100)
    assert np.array_equal(stretch(clip, 1.02).audio, stretch(clip, 1.02).audio)


def test_a_ratio_of_one_changes_nothing():
    clip = Clip(clicks(44100), 44100)
    assert np.array_equal(stretch(clip, 1.0).audio, clip.audio)


@pytest.mark.parametrize("ratio", [0.96, 1.04, 0, -1, np.nan, np.inf])
def test_more_than_three_percent_is_refused(ratio):
    with pytest.raises(RequestError, match="within 3 %"):
        stretch(Clip(clicks(44100), 44100), ratio)


@pytest.mark.parametrize(("bpm", "grid"), [(122, 120), (118, 120), (122, 60), (120.4, 120), (118, 240)])
def test_a_clip_lands_on_the_tempo_or_its_half_or_double(bpm, grid):
    done = snap_tempo(loop(bpm), grid)
    assert done.measure().tempo == pytest.approx(120, rel=0.003)
    assert done.record["seed"] == 1
    assert done.record["snap_tempo"]["measured"] == pytest.approx(bpm, rel=0.003)
    assert done.seconds == pytest.approx(6 * bpm / 120, rel=0.003)


def test_a_tempo_too_far_away_is_refused_with_both_numbers():
    with pytest.raises(AudioError, match=r"is 12[56]\.\d BPM; 120 BPM would change the length by \+[45]\.\d%"):
        snap_tempo(loop(126), 120)


def test_an_unsure_tempo_is_refused():
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 4 * SAMPLE_RATE)).astype(np.float32)
    with pytest.raises(AudioError, match="unsure"):
        snap_tempo(Clip(noise, SAMPLE_RATE), 120)


@pytest.mark.parametrize("bpm", [0, -120, 19.9, 401, np.nan, np.inf, "120", None, True])
def test_nonsense_for_a_tempo_is_refused(bpm):
    with pytest.raises(RequestError, match="from 20 to 400 BPM"):
        snap_tempo(loop(120, 1.0), bpm)


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_stretch", None)
    with pytest.raises(RequestError, match=r"pip install 'soundloom\[stretch\]'"):
        snap_tempo(loop(120, 1.0), 120)
