"""Test `mini` over the supported range of lengths: it is conditioned only on durations of its training."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom import load
from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.model import parse_model_config
from soundloom.config.stable_audio.request import COMPAT, GenerationRequest
from soundloom.errors import ConfigError, OutputError, RequestError
from soundloom.pipeline.stable_audio.plan import plan_clip, plan_pass


@pytest.fixture(scope="module")
def mini():
    return load("mini", keep_loaded=True, engine="torch", precision="fp32")


def level(audio):
    return 20 * np.log10(np.sqrt(np.mean(audio**2)))


@pytest.mark.parametrize("seconds", [0.001, 0.1, 0.3, 0.6, 1.0, 1.2, 3.0, 5.8])
def test_a_sine_wave_is_generated_at_every_length(mini, seconds):
    clip = mini.generate("a sine wave at 440 Hz", seconds=seconds, seed=3)
    assert clip.samples == round(seconds * 44100)
    assert np.abs(clip.audio).max() < 1
    assert "warnings" not in clip.record
    if seconds >= 0.1:
        assert level(clip.audio) > -12
        spectrum = np.abs(np.fft.rfft(clip.audio.mean(axis=0) * np.hanning(clip.samples)))
        assert abs(spectrum.argmax() / seconds - 440) < max(8, 1 / seconds)


@pytest.mark.parametrize("seconds", [5.81, 6.0, 6.2, 12.0, 20.0])
def test_longer_clips_take_several_passes_with_a_warning(mini, seconds):
    clip = mini.generate("a sine wave at 440 Hz", seconds=seconds, seed=3)
    assert clip.samples == round(seconds * 44100)
    assert np.abs(clip.audio).max() <= 1
    full = int(seconds) * 44100
    assert all(level(second) > -12 for second in np.split(clip.audio[:, :full], int(seconds), axis=1))
    assert "5.8 s at once: the clip was generated in" in clip.record["warnings"][0]
    assert clip.record["mode"] == "generate"


def test_a_long_clip_starts_with_the_longest_single_pass(mini):
    longest = mini.generate("heavy rain", seconds=5.8, seed=3)
    longer = mini.generate("heavy rain", seconds=8, seed=3)
    assert np.array_equal(longer.audio[:, : longest.samples], longest.audio)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 7.0, 15.0])
def test_edits_of_any_length_are_in_range(mini, seconds):
    t = np.arange(round(seconds * 44100)) / 44100
    source = Clip((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 44100)
    middle = (0.4 * seconds, 0.6 * seconds)
    result = mini.inpaint(source, [middle], "a sine wave at 440 Hz", seed=1)
    longer = mini.extend(source, 2.0, "a sine wave at 440 Hz", seed=1)
    assert np.abs(result.audio).max() <= 1
    assert np.abs(longer.audio).max() <= 1
    assert level(longer.audio[:, -44100:]) > -15


def test_durations_stay_within_the_training_range(mini):
    config = mini.config
    for seconds in (0.01, 1.1999, 1.2, 4, 5.8):
        item = plan_pass(plan_clip(GenerationRequest("x", seconds=seconds, seed=1), config, 4), config)
        assert 1.2 <= item.seconds <= 5.8
        assert item.samples == round(seconds * 44100)


def test_published_behavior_has_no_passes(mini):
    request = GenerationRequest("x", seconds=6, compat=COMPAT["stable-audio-3"])
    with pytest.raises(RequestError, match=r"at most 5\.8 s"):
        plan_clip(request, mini.config, 4)


@pytest.mark.parametrize("given", [[1], "x", [2, 1], [-1, 5], [7, 9], [True, 5], [1, float("nan")]])
def test_an_invalid_training_range_is_rejected(given):
    data = {**replace_training(given)}
    with pytest.raises(ConfigError, match="clip_seconds"):
        parse_model_config(data)


def replace_training(given):
    from soundloom.config.catalogue import published_config

    return {**published_config("mini"), "training": {"clip_seconds": given}}


def test_models_without_a_training_range_use_their_capacity(tiny_model):
    assert tiny_model.config.trained_seconds[0] == 0
    assert replace(tiny_model.config, training={"clip_seconds": [1, 30]}).max_seconds == 30


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.5, 1.0])
def test_a_variation_of_a_short_clip_is_audible(mini, seconds):
    """A source shorter than the training clips is repeated: padding with silence would silence the variation."""
    t = np.arange(round(seconds * 44100)) / 44100
    source = Clip((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 44100)
    for noise in (0.3, 0.85):
        result = mini.vary(source, "a sine wave at 440 Hz", noise=noise, seed=1)
        assert result.samples == source.samples
        assert level(result.audio) > -20
        assert np.abs(result.audio).max() <= 1


def test_a_long_clip_is_checked_after_all_passes(mini, monkeypatch):
    """The checks of later passes allow for a source, so they do not report static."""
    decode = type(mini.engine).decode
    noise = np.random.default_rng(0).normal(0, 0.2, (1, 2, 1 << 19)).astype(np.float32)

    def static(engine, latents, noise_fn=None):
        result = decode(engine, latents, noise_fn)
        return noise[..., : result.shape[-1]]

    monkeypatch.setattr(type(mini.engine), "decode", static)
    with pytest.raises(OutputError, match="static"):
        mini.generate("a sine wave at 440 Hz", seconds=8, seed=1)
