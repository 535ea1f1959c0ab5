import numpy as np
import pytest

from soundloom.audio.checks import Origin, check_audio, require_usable
from soundloom.errors import OutputError

RATE = 44100
SAMPLES = 4 * RATE


def kinds(audio, **origin):
    return [finding.kind for finding in check_audio(np.asarray(audio, np.float32), RATE, Origin(**origin))]


def errors(audio, **origin):
    findings = check_audio(np.asarray(audio, np.float32), RATE, Origin(**origin))
    return [finding.message for finding in findings if finding.severity == "error"]


def white(level=0.2, seed=0):
    return np.random.default_rng(seed).normal(0, level, (2, SAMPLES))


def colored(slope):
    """Noise with a spectrum of 1 / f^slope: 1 is pink, 2 is brown."""
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
    """Rain: steady hiss that falls above 4 kHz, with drops."""
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
        lambda: colored(0.7),
        lambda: colored(1),
        lambda: colored(2),
        lambda: white(0.001),
    ],
)
def test_good_audio_passes(sound):
    assert kinds(sound()) == []


@pytest.mark.parametrize("level", [0.05, 0.3])
def test_white_noise_is_detected_as_static(level):
    findings = check_audio(white(level).astype(np.float32), RATE)
    assert [(finding.kind, finding.severity) for finding in findings] == [("static", "warning")]
    assert "weights that do not fit" in findings[0].message


def test_static_is_found_in_long_clips_too():
    assert kinds(np.tile(white(), (1, 10))) == ["static"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(value):
    audio = tone()
    audio[0, 100] = value
    findings = check_audio(audio.astype(np.float32), RATE)
    assert [finding.kind for finding in findings] == ["not_finite"]
    with pytest.raises(OutputError, match="x: 1 of 176400 samples are not finite"):
        require_usable(findings, "x")


@pytest.mark.parametrize("audio", [np.zeros((2, SAMPLES)), tone() * 1e-5, np.zeros((2, 0))])
def test_silence_is_an_error(audio):
    with pytest.raises(OutputError, match="silent"):
        require_usable(check_audio(audio.astype(np.float32), RATE), "x")


def test_heavy_clipping():
    assert kinds(np.clip(3 * tone(), -1, 1)) == ["clipped"]


def test_offset():
    assert kinds(0.3 * tone() + 0.2) == ["offset"]


def test_warnings_let_a_clip_pass():
    require_usable(check_audio(white(0.3).astype(np.float32), RATE), "x")


def test_short_bursts_are_not_static():
    assert kinds(white()[:, :4000]) == []


@pytest.mark.parametrize(("gain", "kind"), [(4.5, "overload"), (1e8, "overload"), (4.3, "clipped"), (1.2, "clipped")])
def test_peaks_far_over_full_scale_are_an_error(gain, kind):
    assert kinds(gain * tone()) == [kind]
    assert bool(errors(gain * tone())) == (kind == "overload")
    assert kinds(gain * tone(), is_region=True) == [kind]


@pytest.mark.parametrize("prompt", ["a piano", "Ein Klavier", "🎸", "a train horn", "brain waves", "a window squeaks"])
def test_static_is_an_error_for_other_prompts(prompt):
    assert "sounds like static" in errors(white(), prompt=prompt)[0]


@pytest.mark.parametrize("prompt", ["white noise", "Radio static", "heavy rain on the left", "tape hiss", "NOISE"])
def test_noise_is_accepted_if_the_prompt_asks_for_it(prompt):
    assert kinds(white(), prompt=prompt) == []


def test_static_in_a_region_or_without_a_prompt_is_a_warning():
    for origin in ({"prompt": "a piano", "is_region": True}, {}, {"prompt": " "}):
        assert kinds(white(), **origin) == ["static"]
        assert errors(white(), **origin) == []


def test_near_silence_is_an_error_unless_the_prompt_asks_for_it():
    faint = 0.003 * tone()
    assert "nearly silent (at most -54 dBFS" in errors(faint, prompt="a piano")[0]
    for origin in (
        {},
        {"prompt": "silence"},
        {"prompt": "x", "is_faint_source": True},
        {"prompt": "x", "is_region": True},
    ):
        assert kinds(faint, **origin) == []


def test_one_loud_moment_is_enough():
    beep = 0.003 * tone()
    beep[:, 88200:106000] *= 100
    assert kinds(beep, prompt="a beep") == []


def test_regions_may_be_silent():
    assert kinds(np.zeros((2, SAMPLES)), is_region=True) == []


@pytest.mark.parametrize(
    ("origin", "possible", "impossible"),
    [
        ({}, "weights", ("guidance", "precision", "source")),
        ({"is_guided": True}, "guidance too strong, or weights", ("precision", "source")),
        ({"precision": "int8"}, "the precision int8", ("guidance", "source")),
    ],
)
def test_messages_name_plausible_causes(origin, possible, impossible):
    for sound in (1e3 * tone(), white()):
        (message,) = errors(sound, prompt="a piano", **origin)
        assert possible in message
        assert not [word for word in impossible if word in message]
    assert "a source that is silent" in errors(np.zeros((2, 9)), has_source=True)[0]
    assert "source" not in errors(np.zeros((2, 9)))[0]


def test_short_clips_are_not_checked_for_an_offset():
    assert kinds(0.5 * tone()[:, :40]) == []


def test_requested_silence_is_accepted():
    assert kinds(np.zeros((2, SAMPLES)), prompt="two seconds of silence") == []
    assert kinds(np.zeros((2, SAMPLES)), prompt="silencer shot") == ["silent"]
