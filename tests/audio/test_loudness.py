import math

import numpy as np
import pytest

from soundloom.audio.loudness import (
    gain_to_loudness,
    integrated_loudness,
    k_weighting,
    loudness_range,
    short_term_loudness,
    true_peak,
)

RATES = pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])


def tone(level, seconds, rate=48000, hertz=997.0, phase=0.0):
    """Stereo sine whose peak is `level` dBFS."""
    wave = np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate + phase)
    return np.repeat(10 ** (level / 20) * wave[None], 2, axis=0).astype(np.float32)


def test_k_weighting_matches_the_standard_at_48_khz():
    """ITU-R BS.1770-4, tables 1 and 2."""
    (shelf_b, shelf_a), (high_b, high_a) = k_weighting(48000)
    np.testing.assert_allclose(shelf_b, [1.53512485958697, -2.69169618940638, 1.19839281085285], atol=1e-8)
    np.testing.assert_allclose(shelf_a, [1, -1.69065929318241, 0.73248077421585], atol=1e-8)
    np.testing.assert_allclose(high_b, [1, -2, 1])
    np.testing.assert_allclose(high_a, [1, -1.99004745483398, 0.99007225036621], atol=1e-8)


@RATES
@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_a_stereo_sine_is_as_loud_as_its_peak(rate, level):
    """EBU Tech 3341, cases 1 and 2."""
    assert integrated_loudness(tone(level, 20, rate), rate) == pytest.approx(level, abs=0.1)


def test_mono_is_3_lu_quieter():
    assert integrated_loudness(tone(-20, 5)[:1], 48000) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(("channel", "louder"), [(0, 0), (2, 0), (3, -math.inf), (4, 1.5)])
def test_surround_channels_have_their_weights(channel, louder):
    """Left, center, low frequencies (which do not count) and a surround channel of 5.1, against mono."""
    mono = tone(-20, 2)[:1]
    surround = np.zeros((6, mono.shape[1]), np.float32)
    surround[channel] = mono
    assert integrated_loudness(surround, 48000) == pytest.approx(integrated_loudness(mono, 48000) + louder, abs=0.01)


@pytest.mark.parametrize(
    "levels",
    [
        [(-36, 10), (-23, 60), (-36, 10)],  # case 3
        [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],  # case 4
        [(-26, 20), (-20, 20.1), (-26, 20)],  # case 5
    ],
)
def test_gating(levels):
    """EBU Tech 3341, cases 3 to 5: quiet parts do not count, or count as the gates say."""
    audio = np.concatenate([tone(level, seconds) for level, seconds in levels], axis=1)
    assert integrated_loudness(audio, 48000) == pytest.approx(-23, abs=0.1)


def test_silence_after_a_tone_does_not_count():
    audio = np.concatenate([tone(-23, 10), np.zeros((2, 48000 * 30), np.float32)], axis=1)
    assert integrated_loudness(audio, 48000) == pytest.approx(-23, abs=0.1)


def recursion(b, a, samples):
    """The biquad as its difference equation, sample by sample."""
    out = [0.0, 0.0]
    padded = np.concatenate([[0, 0], samples])
    for driven in b[0] * padded[2:] + b[1] * padded[1:-1] + b[2] * padded[:-2]:
        out.append(driven - a[1] * out[-1] - a[2] * out[-2])
    return np.array(out[2:])


def test_filtering_in_chunks_equals_the_recursive_filter():
    rate = 8000
    noise = np.random.default_rng(0).normal(0, 0.1, 25 * rate)
    filtered = noise
    for b, a in k_weighting(rate):
        filtered = recursion(b, a, filtered)
    hops = (filtered**2).reshape(-1, rate // 10).mean(axis=1)
    blocks = np.convolve(hops, np.full(4, 0.25), "valid")
    expected = -0.691 + 10 * math.log10(blocks.mean())  # steady noise: no block is gated
    assert integrated_loudness(noise[None], rate) == pytest.approx(expected, abs=1e-9)


def test_short_clips_have_a_loudness_and_silence_has_none():
    assert integrated_loudness(tone(-23, 0.2), 48000) == pytest.approx(-23, abs=0.3)
    assert integrated_loudness(np.zeros((2, 48000), np.float32), 48000) == -math.inf
    assert integrated_loudness(np.zeros((2, 0), np.float32), 48000) == -math.inf


@RATES
def test_true_peak_finds_the_crest_between_samples(rate):
    """EBU Tech 3341, case 17: a sine at a quarter of the rate, sampled 45 degrees off its crests."""
    audio = tone(0, 1, rate, rate / 4, math.pi / 4) * np.hanning(rate).astype(np.float32)
    assert 20 * math.log10(np.abs(audio).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak(audio, rate) == pytest.approx(0, abs=0.1)


def test_true_peak_of_silence_and_of_nothing():
    assert true_peak(np.zeros((1, 1000), np.float32), 48000) == -math.inf
    assert true_peak(np.zeros((1, 0), np.float32), 48000) == -math.inf


def amplified(audio, gain):
    return audio * np.float32(10 ** (gain / 20))


def test_the_gain_reaches_the_target():
    audio = tone(-40, 3)
    gain, limited = gain_to_loudness(audio, 48000, -16)
    assert integrated_loudness(amplified(audio, gain), 48000) == pytest.approx(-16, abs=0.01)
    assert (gain, limited) == (pytest.approx(24, abs=0.1), False)


def test_the_true_peak_limits_the_gain():
    loud_click = tone(-40, 3)
    loud_click[:, 70_000] = 0.5
    gain, limited = gain_to_loudness(loud_click, 48000, -16)
    assert true_peak(amplified(loud_click, gain), 48000) == pytest.approx(-1, abs=0.05)
    assert limited
    assert gain < 24


def test_silence_is_not_amplified():
    assert gain_to_loudness(np.zeros((2, 48000), np.float32), 48000, -16) == (0.0, False)


@pytest.mark.parametrize(
    ("levels", "range_"), [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)]
)
def test_the_loudness_range_of_the_signals_of_the_standard(levels, range_):
    """EBU Tech 3342, minimum requirements 1 to 4: tones of 20 s, ±1 LU."""
    audio = np.concatenate([tone(level, 20, hertz=1000) for level in levels], axis=1)
    assert loudness_range(audio, 48000) == pytest.approx(range_, abs=0.1)


def test_short_clips_and_silence_have_no_loudness_range():
    assert math.isnan(loudness_range(tone(-20, 2.9), 48000))
    assert loudness_range(tone(-20, 3.0), 48000) == 0
    assert math.isnan(loudness_range(np.zeros((1, 5 * 8000)), 8000))
    assert short_term_loudness(tone(-20, 4.0), 48000) == pytest.approx(-20, abs=0.1)
    assert len(short_term_loudness(tone(-20, 4.0), 48000)) == 11
