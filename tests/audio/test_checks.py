import numpy as np
import pytest

from soundloom.audio.checks import check_audio, require_sound
from soundloom.errors import OutputError

RATE = 44100
SAMPLES = 4 * RATE


def kinds(audio):
    return [finding.kind for finding in check_audio(np.asarray(audio, np.float32), RATE)]


def white(level=0.2, seed=0):
    return np.random.default_rng(seed).normal(0, level, (2, SAMPLES))


def coloured(slope):
    """Noise whose power falls with frequency to the power `slope`: 1 is pink, 2 is brown."""
    spectrum = np.fft.rfft(white())
    spectrum[:, 1:] *= np.arange(1, spectrum.shape[1]) ** (-slope / 2)
    spectrum[:, 0] = 0
    noise = np.fft.irfft(spectrum)
    return 0.3 * noise / np.abs(noise).max()


def tone():
    return 0.9 * np.sin(2 * np.pi * 440 * np.arange(SAMPLES) / RATE)[None]


def drums():
    hit = np.exp(-np.arange(RATE // 4) / 1500)
    return white() * np.tile(hit, 16)


def gusts():
    return white() * (0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * np.arange(SAMPLES) / RATE))


def rain():
    """Steady hiss that falls above 4 kHz, with drops."""
    drops = white(seed=1) * (np.random.default_rng(2).random((2, SAMPLES)) < 1e-3) * 3
    spectrum = np.fft.rfft(white(0.1) + drops)
    hertz = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    return np.fft.irfft(spectrum / (1 + (hertz / 4000) ** 2))


@pytest.mark.parametrize(
    "sound",
    [
        tone,
        drums,
        gusts,
        rain,
        lambda: coloured(0.7),
        lambda: coloured(1),
        lambda: coloured(2),
        lambda: white(0.001),
    ],
)
def test_good_sounds_pass(sound):
    assert kinds(sound()) == []


@pytest.mark.parametrize("level", [0.05, 0.3])
def test_white_noise_from_end_to_end_is_called_static(level):
    findings = check_audio(white(level).astype(np.float32), RATE)
    assert [(finding.kind, finding.severity) for finding in findings] == [("static", "warning")]
    assert "weights that do not fit" in findings[0].message


def test_static_is_found_in_long_clips_too():
    assert kinds(np.tile(white(), (1, 10))) == ["static"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers(value):
    audio = tone()
    audio[0, 100] = value
    findings = check_audio(audio.astype(np.float32), RATE)
    assert [finding.kind for finding in findings] == ["not_finite"]
    with pytest.raises(OutputError, match="1 of 176400 samples are not numbers"):
        require_sound(findings)


@pytest.mark.parametrize("audio", [np.zeros((2, SAMPLES)), tone() * 1e-5, np.zeros((2, 0))])
def test_silence_is_an_error(audio):
    with pytest.raises(OutputError, match="silent"):
        require_sound(check_audio(audio.astype(np.float32), RATE))


def test_heavy_clipping():
    assert kinds(np.clip(3 * tone(), -1, 1)) == ["clipped"]


def test_offset():
    assert kinds(0.3 * tone() + 0.2) == ["offset"]


def test_warnings_let_a_clip_pass():
    require_sound(check_audio(white(0.3).astype(np.float32), RATE))


def test_short_bursts_are_not_called_static():
    assert kinds(white()[:, :4000]) == []
