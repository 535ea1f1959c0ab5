import json
import math
from dataclasses import fields

import numpy as np
import pytest

from soundloom import Clip
from soundloom.audio.measure import Measurement, measure
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.errors import AudioError


def rendered(labels, seconds=6.0):
    return render(labels, seconds, np.random.default_rng(0))


HOUSE = Labels("drum loop", "house", bpm=124, material="acoustic")


def test_a_loop_has_a_tempo_and_no_pitch():
    found = measure(rendered(HOUSE), SAMPLE_RATE)
    assert found.tempo == pytest.approx(124, rel=0.005)
    assert found.pitch is None and found.key is None
    assert len(found.onsets) == pytest.approx(6 * 124 / 60 * 2, abs=3)  # kicks and hi-hats alternate on eighths


def test_a_note_has_a_pitch_and_no_tempo_or_key():
    found = measure(rendered(Labels("pluck", "guitar", hz=220.0)), SAMPLE_RATE)
    assert found.pitch == pytest.approx(220, rel=0.01)
    assert found.tempo is None and found.key is None


def test_the_level_does_not_matter():
    audio = rendered(HOUSE)
    quiet, loud = measure(audio / 1000, SAMPLE_RATE), measure(audio, SAMPLE_RATE)
    assert quiet.tempo == pytest.approx(loud.tempo)
    assert quiet.onsets == loud.onsets
    assert quiet.true_peak == pytest.approx(loud.true_peak - 60, abs=0.01)


def test_channels_in_opposite_phase_do_not_cancel():
    audio = rendered(HOUSE)[:1]
    found = measure(np.concatenate([audio, -audio]), SAMPLE_RATE)
    assert found.tempo == pytest.approx(124, rel=0.005)


@pytest.mark.parametrize("samples", [0, 1, 100, SAMPLE_RATE])
def test_silence_of_any_length_has_nothing(samples):
    found = measure(np.zeros((2, samples), np.float32), SAMPLE_RATE)
    assert (found.tempo, found.key, found.pitch, found.onsets, found.sound_seconds) == (None, None, None, (), 0.0)
    assert found.loudness == found.true_peak == -math.inf


@pytest.mark.parametrize("samples", [1, 2, 441, 3000])
def test_tiny_clips_are_measured(samples):
    found = measure(np.full((1, samples), 0.5, np.float32), SAMPLE_RATE)
    assert found.tempo is None and found.key is None
    assert found.true_peak > -7


def test_sound_seconds_leave_out_silence_around_the_sound():
    audio = np.zeros((2, 4 * SAMPLE_RATE), np.float32)
    audio[:, SAMPLE_RATE : 2 * SAMPLE_RATE] = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE)
    assert measure(audio, SAMPLE_RATE).sound_seconds == pytest.approx(1, abs=0.02)


def test_values_that_are_not_finite_are_an_error():
    audio = np.zeros((1, 1000), np.float32)
    audio[0, 500] = np.nan
    with pytest.raises(AudioError, match="not finite"):
        measure(audio, SAMPLE_RATE)


@pytest.mark.parametrize("rate", [0, -1, 44100.5, 10**9])
def test_bad_rates_are_an_error(rate):
    with pytest.raises(AudioError, match="sample rate"):
        measure(np.zeros((1, 1000), np.float32), rate)


def test_clips_measure_themselves_and_the_result_is_json():
    found = Clip(rendered(HOUSE), SAMPLE_RATE).measure()
    assert isinstance(found, Measurement)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(values) == [field.name for field in fields(Measurement)]


@pytest.mark.parametrize("gain", [1e-3, 1e6, 1e30])
def test_any_scale_of_floats_is_measured(gain):
    found = measure(rendered(HOUSE) * np.float32(gain), SAMPLE_RATE)
    assert found.tempo == pytest.approx(124, rel=0.005)
    assert found.sound_seconds == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize(
    "audio",
    [np.zeros((2, 100), np.int16), np.zeros((1, 2, 100)), np.zeros((0, 100)), np.array([["a", "b"]]), "loop.wav", None],
    ids=lambda audio: str(getattr(audio, "shape", audio)),
)
def test_other_arrays_are_an_error(audio):
    with pytest.raises(AudioError, match="floats"):
        measure(audio, SAMPLE_RATE)


def test_one_dimension_is_mono_and_double_precision_is_fine():
    audio = rendered(HOUSE)[0].astype(np.float64)
    assert measure(audio, SAMPLE_RATE) == measure(audio[None], SAMPLE_RATE)


def test_many_channels_are_measured():
    audio = np.repeat(rendered(HOUSE)[:1], 12, axis=0)
    assert measure(audio, SAMPLE_RATE).tempo == pytest.approx(124, rel=0.005)


def test_silence_around_a_loop_does_not_matter():
    audio = np.pad(rendered(HOUSE), ((0, 0), (2 * SAMPLE_RATE, 3 * SAMPLE_RATE)))
    found = measure(audio, SAMPLE_RATE)
    assert found.tempo == pytest.approx(124, rel=0.005)
    assert found.onsets[0] == pytest.approx(2, abs=0.02)
