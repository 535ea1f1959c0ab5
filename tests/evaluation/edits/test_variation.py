from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.edits.variation import (
    chroma_correlation,
    chromagram,
    find_onsets,
    half_level,
    kept_over_obeyed,
    level_correlation,
    loudness_correlation,
    loudness_course,
    onset_f_measure,
)

RATE = 22050


def tones(*frequencies, seconds=0.5, rate=RATE):
    times = np.arange(round(seconds * rate)) / rate
    return np.concatenate([0.3 * np.sin(2 * np.pi * f * times) for f in frequencies])[None]


@pytest.mark.parametrize(("frequency", "pitch_class"), [(65.41, 0), (440, 9), (466.16, 10), (1760, 9), (3729.3, 10)])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_tone_has_its_pitch_class(frequency, pitch_class, rate):
    chroma = chromagram(tones(frequency, seconds=1, rate=rate), rate)
    assert chroma[:, 10:-10].mean(axis=1).argmax() == pitch_class


def test_chroma_hears_pitch_and_not_octaves():
    melody = tones(262, 330, 392, 440)
    assert chroma_correlation(melody, melody, RATE) == pytest.approx(1)
    assert chroma_correlation(melody, tones(524, 660, 784, 880), RATE) > 0.9
    assert chroma_correlation(melody, tones(277, 349, 415, 466), RATE) < 0.2
    assert np.isnan(chroma_correlation(melody, 0 * melody, RATE))


def test_a_lag_of_100_ms_is_forgiven_and_300_ms_not():
    melody = tones(262, 370, 262, 370, seconds=0.3)
    late, later = (np.roll(melody, round(lag * RATE), axis=1) for lag in (0.08, 0.3))
    assert chroma_correlation(melody, late, RATE) > 0.9
    assert chroma_correlation(melody, later, RATE) < 0.3


def test_onsets_match_once_within_50_ms():
    assert onset_f_measure((0.0, 1.0), (0.05, 1.06)) == 0.5
    assert onset_f_measure((0.0, 0.04), (0.02,)) == pytest.approx(2 / 3)
    assert onset_f_measure((), (1.0,)) == 0
    assert np.isnan(onset_f_measure((), ()))


def test_the_most_onsets_are_matched():
    """Against all assignments, by brute force."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b = (np.sort(rng.uniform(0, 0.3, rng.integers(1, 5))) for _ in range(2))

        def most(left, right):
            if not left:
                return 0
            pairs = [
                1 + most(left[1:], right[:i] + right[i + 1 :]) for i, t in enumerate(right) if abs(left[0] - t) <= 0.05
            ]
            return max([most(left[1:], right), *pairs])

        assert onset_f_measure(a, b) == pytest.approx(2 * most(list(a), list(b)) / (len(a) + len(b)))


@pytest.mark.slow
def test_mir_eval_agrees():
    onset = pytest.importorskip("mir_eval.onset")
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = (np.sort(rng.uniform(0, 3, 30)) for _ in range(2))
        assert onset_f_measure(a, b) == pytest.approx(onset.f_measure(a, b)[0])


def test_clicks_are_onsets():
    audio = np.zeros((1, 2 * 44100), np.float32)
    audio[:, [22050, 44100, 66150]] = 1
    assert onset_f_measure((0.5, 1.0, 1.5), find_onsets(audio, 44100)) == 1


def test_the_loudness_course_has_ten_steps_a_second():
    audio = np.repeat([1.0, 0.1, 0.0], 4410)[None]
    assert loudness_course(audio, 44100) == pytest.approx([0, -20, -70])
    assert loudness_correlation(audio, 0.1 * audio, 44100) > 0.95
    assert loudness_correlation(audio, audio[:, ::-1], 44100) < 0
    assert np.isnan(loudness_correlation(audio, 0 * audio, 44100))


def test_the_curve_is_summarized():
    levels = (0.1, 0.3, 0.5, 0.7, 0.9)
    assert level_correlation(levels, (1, 0.9, 0.5, 0.3, 0.1)) == pytest.approx(-1)
    assert np.isnan(level_correlation(levels, (1, 0.9, np.nan, 0.3, 0.1)))
    assert half_level(levels, (0.9, 0.8, 0.6, 0.2, 0.1), 1.0, 0.0) == pytest.approx(0.55)
    assert half_level((0.5,), (0.9,), 1.0, 0.0) == pytest.approx(0.5 + 0.5 * 4 / 9)
    assert half_level(levels, (0.1,) * 5, 1.0, 0.0) == pytest.approx(0.1 * 0.5 / 0.9)
    assert np.isnan(half_level(levels, (0.5,) * 5, 0.2, 0.2))


def test_keeping_more_at_equal_obedience_has_a_larger_area():
    obeyed = (0.0, 0.1, 0.3)
    assert kept_over_obeyed((1.0, 0.8, 0.4), obeyed) == pytest.approx(0.09 + 0.12)
    assert kept_over_obeyed((0.4, 1.0, 0.8), (0.3, 0.0, 0.1)) == pytest.approx(0.21)
    assert kept_over_obeyed((1.0, 0.9, 0.4), obeyed) > 0.21
