"""Tempo, key, pitch, duration, loudness and stereo against what was asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from soundloom.datasets.synthetic import Labels, render
from soundloom.errors import RequestError
from soundloom.evaluation.controls.duration import content_seconds, score_duration
from soundloom.evaluation.controls.key import key_index, key_name, key_points
from soundloom.evaluation.controls.loop import score_loop
from soundloom.evaluation.controls.loudness import score_loudness
from soundloom.evaluation.controls.pitch import pitch_hz, score_pitch
from soundloom.evaluation.controls.stereo import is_on_side, score_stereo
from soundloom.evaluation.controls.tempo import score_tempo

RATE = 44100
KEYS = [key_name(index) for index in range(24)]
# The recorded case tempo.accuracy: asked, found, accuracy 1, accuracy 2, octave error.
TEMPOS = [
    (120, 121, True, True, 0.01197264),
    (90, 180, False, True, 1.0),
    (140, 69, False, True, -1.02075856),
    (100, 0, False, False, math.nan),
    (75, 225.5, False, True, 1.58816493),
    (128, 136, False, False, 0.08746284),
    (60, 61.2, True, True, 0.02856917),
    (174, 58, False, True, -1.5849625),
    (110, 115, False, False, 0.06413034),
]


def tone(hz, seconds=1.0, level=0.5, rate=RATE):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate))[None].repeat(2, axis=0)


@pytest.mark.parametrize(("asked", "found", "first", "second", "octave"), TEMPOS)
def test_tempos_equal_the_recorded_case(asked, found, first, second, octave):
    score = score_tempo(asked, found)
    assert (score.accuracy1, score.accuracy2) == (first, second)
    assert score.octave_error == pytest.approx(octave, abs=1e-7, nan_ok=True)


@pytest.mark.parametrize("found", [None, math.nan, 0.0, -1.0])
def test_no_tempo_is_wrong_without_an_octave_error(found):
    score = score_tempo(120, found)
    assert not score.accuracy2 and math.isnan(score.octave_error)


def test_a_doubled_tempo_keeps_accuracy_2_and_loses_accuracy_1():
    assert score_tempo(90, 90.5).accuracy1
    doubled = score_tempo(90, 181.0)
    assert doubled.is_multiple and doubled.accuracy2 and not doubled.accuracy1


@pytest.mark.parametrize(
    ("asked", "others"),
    [
        ("C major", {"C major": 1.0, "G major": 0.5, "A minor": 0.3, "C minor": 0.2}),
        ("D# minor", {"D# minor": 1.0, "A# minor": 0.5, "F# major": 0.3, "D# major": 0.2}),
    ],
)
def test_key_points_equal_those_of_mirex(asked, others):
    assert {key: key_points(asked, key) for key in KEYS if key_points(asked, key)} == others


def test_key_points_depend_only_on_the_interval():
    points = np.array([[key_points(a, b) for b in KEYS] for a in KEYS]).reshape(2, 12, 2, 12)
    for tonic in range(12):
        assert (np.roll(points[:, tonic], -tonic, axis=2) == points[:, 0]).all()


def test_a_fifth_above_counts_and_below_only_where_asked():
    assert [key_points("C major", key) for key in ("G major", "F major")] == [0.5, 0.0]
    assert [key_points("A minor", key, fifth_below=True) for key in ("E minor", "D minor")] == [0.5, 0.5]
    assert np.sum([[key_points(a, b, fifth_below=True) for b in KEYS] for a in KEYS]) == 24 * (1 + 0.5 * 2 + 0.3 + 0.2)


def test_a_key_up_a_fifth_loses_half_a_point():
    assert key_points("D minor", "D minor") - key_points("D minor", "A minor") == 0.5
    assert key_points("D minor", None) == 0


@pytest.mark.parametrize(
    ("text", "name"), [("Bb major", "A# major"), ("f#m", "F# minor"), ("Cb", "B major"), ("AM", "A major")]
)
def test_keys_are_read_in_common_spellings(text, name):
    assert key_name(key_index(text)) == name


@pytest.mark.parametrize("text", ["", "H major", "C dorian", "9"])
def test_other_text_is_no_key(text):
    with pytest.raises(RequestError, match="is not a key"):
        key_index(text)


def test_pitches_are_right_within_50_cents_and_octaves_are_told_apart():
    assert score_pitch(440, 440 * 2 ** (49 / 1200)).is_right
    assert not score_pitch(440, 440 * 2 ** (51 / 1200)).is_right
    octave = score_pitch(440, 221)
    assert octave.is_octave and octave.octaves == -1 and not octave.is_right
    assert not score_pitch(440, 660).is_octave
    assert math.isnan(score_pitch(440, None).cents) and not score_pitch(440, None).is_right


def test_pitches_are_read_as_notes_and_as_hertz():
    assert [pitch_hz(text) for text in ("A4", "440", "440 Hz", "a3")] == [440, 440, 440, 220]
    assert pitch_hz("Bb2") == pytest.approx(116.54, abs=0.01)
    for text in ("H4", "", "-1", "nan"):
        with pytest.raises(RequestError, match="is no pitch"):
            pitch_hz(text)


def test_a_missing_part_is_counted_in_samples():
    assert score_duration(tone(440), RATE, 1.0).is_exact
    cut = score_duration(tone(440)[:, : -round(0.3 * RATE)], RATE, 1.0)
    assert cut.missing == 13230 and not cut.is_exact


@pytest.mark.parametrize("rate", [8000, 44100])
def test_content_ends_with_the_last_frame_within_60_db(rate):
    audio = tone(440, 1.0, rate=rate)
    audio[:, rate // 2 :] *= 10 ** (-61 / 20)
    score = score_duration(audio, rate, 1.0)
    assert score.content == pytest.approx(0.5, abs=0.011)
    assert score.trailing_silence == pytest.approx(0.5, abs=0.011)
    audio[:, rate // 2 :] *= 10 ** (3 / 20)
    assert content_seconds(audio, rate) == pytest.approx(1.0, abs=0.011)


def test_silence_has_no_content():
    score = score_duration(np.zeros((1, RATE)), RATE, 1.0)
    assert (score.content, score.trailing_silence, score.missing) == (0, 1, 0)
    assert content_seconds(np.zeros((2, 0)), RATE) == 0


def test_loudness_needs_the_target_and_the_peak():
    audio = tone(997, 4.0, level=10 ** (-16 / 20))
    loudness = -16 - 0.0 - 0.0  # two channels of a sine at this level: -3.01 for the sine, +3.01 for two channels
    assert score_loudness(audio, RATE, loudness).is_right
    assert not score_loudness(audio, RATE, loudness - 1).is_right
    loud = tone(997, 4.0, level=0.999)
    score = score_loudness(loud, RATE, 0.0)
    assert abs(score.error) < 0.5 and not score.is_peak_safe and not score.is_right
    silent = score_loudness(np.zeros((2, RATE)), RATE, -16)
    assert silent.error == -math.inf and not silent.is_right


def test_stereo_figures_and_sides():
    left = tone(440) * [[1.0], [0.5]]
    assert is_on_side(left, "left") and not is_on_side(left[::-1], "left") and is_on_side(left[::-1], "right")
    assert score_stereo(left).balance == pytest.approx(-6.02, abs=0.01)
    assert score_stereo(left).mid_side == pytest.approx(20 * np.log10(3), abs=0.01)
    assert score_stereo(left).correlation == pytest.approx(1)
    assert score_stereo(left * [[1], [-1]]).correlation == pytest.approx(-1)
    assert score_stereo(left[:1]).mid_side == math.inf and is_on_side(left[:1], "center")
    silent = score_stereo(np.zeros((2, 100)))
    assert math.isnan(silent.correlation) and not is_on_side(np.zeros((2, 100)), "center")
    with pytest.raises(RequestError, match="is no side"):
        is_on_side(left, "above")


def test_a_loop_stays_on_the_grid_unless_its_end_is_cut():
    audio = render(Labels("drum loop", "house", bpm=120, material="electronic"), 4.0, np.random.default_rng(0))
    whole = score_loop(audio, RATE, 120)
    assert whole.is_on_grid and whole.is_seamless
    cut = score_loop(audio[:, : -round(0.03 * RATE)], RATE, 120)
    assert not cut.is_on_grid and cut.onset == pytest.approx(-0.03, abs=0.003)
    assert math.isnan(score_loop(tone(441), RATE, 120).onset)
    assert not score_loop(tone(441.3), RATE, 120).is_seamless
