import numpy as np
import pytest

from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.evaluation.synthetic.pitch import cents, estimate_pitch, partials_of, spectral_peaks

NOTES = [
    Labels("tone", "sine", hz=440.0),
    Labels("tone", "sawtooth", hz=100.0),
    Labels("tone", "triangle", hz=4000.0),
    Labels("bell", "church bell", hz=220.0, brightness=0.1),
    Labels("bell", "bell", hz=880.0),
    Labels("bell", "glockenspiel", hz=1760.0, brightness=0.9),
    Labels("bass", "sub bass", hz=41.2034),
    Labels("bass", "bass guitar", hz=55.0, brightness=0.9),
    Labels("pluck", "guitar", hz=110.0, reverb="hall"),
    Labels("pluck", "banjo", hz=261.6256, pan=-1.0),
    Labels("lead", "saw lead", hz=523.2511),
    Labels("beeps", hz=1000.0, rate=2.0, count=3),
]


def found(audio, labels):
    return estimate_pitch(spectral_peaks(audio, SAMPLE_RATE), partials_of(labels))


@pytest.mark.parametrize("labels", NOTES, ids=lambda labels: f"{labels.family} {labels.variant} {labels.hz:.0f}")
def test_pitch_is_within_twenty_cents(labels):
    audio = render(labels, 3.0, np.random.default_rng(0))
    assert abs(cents(found(audio, labels).hz, labels.hz)) < 20


@pytest.mark.parametrize("octave", [0.5, 2.0])
def test_wrong_octave_is_detected(octave):
    requested = Labels("pluck", "guitar", hz=220.0)
    played = render(Labels("pluck", "guitar", hz=220.0 * octave), 3.0, np.random.default_rng(0))
    assert cents(found(played, requested).hz, 220.0) == pytest.approx(1200 * np.log2(octave), abs=20)


def test_noise_does_not_hide_a_note():
    labels = Labels("bell", "bell", hz=440.0)
    audio = render(labels, 3.0, np.random.default_rng(0))
    noisy = audio + np.random.default_rng(1).normal(0, 0.02, audio.shape)
    assert abs(cents(found(noisy, labels).hz, 440.0)) < 20


def test_silence_has_no_pitch():
    assert found(np.zeros((2, SAMPLE_RATE)), Labels("tone", "sine", hz=440.0)) is None


@pytest.mark.parametrize("labels", [Labels("rain"), Labels("chord", "piano", key="A minor", hz=220.0)])
def test_labels_without_a_single_note_have_no_partials(labels):
    assert partials_of(labels) is None
