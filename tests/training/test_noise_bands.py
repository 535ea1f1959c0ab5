"""Autoencoders that start with the loudness of noise beside principal components."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from training.tiny_recipe import AUTOENCODER, PATCH, SOUNDS, STRIDE, model_config

from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.engines.torch.same import SAME
from soundloom.errors import ConfigError
from soundloom.training.noise_bands import start_with_noise
from soundloom.training.sounds import Sounds
from soundloom.training.starts import fit_linear_codec, random_crops, start_linear

EDGES = (5000.0, 12000.0, 21000.0)  # two bands of two channels: four latents
CONFIG = replace(AUTOENCODER, noise_bands=EDGES, frames=64, pca_seconds=3.0, emphasis=0.0)


def autoencoder(**changes) -> SAME:
    torch.manual_seed(0)
    config = model_config().same
    encoder = replace(config.encoder, config=replace(config.encoder.config, **changes))
    half = replace(config.decoder.config, sinusoidal_blocks=(2,), **changes)
    return SAME(replace(config, encoder=encoder, decoder=replace(config.decoder, config=half)))


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return Sounds(replace(SOUNDS, clips=12, families=("noise", "bell")))


@pytest.fixture(scope="module")
def started(sounds) -> SAME:
    same = autoencoder()
    start_with_noise(same, sounds, CONFIG)
    return same


def levels(sound) -> np.ndarray:
    """Decibels of each band of each channel, (2, bands)."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(sound.shape[-1], 1 / SAMPLE_RATE)
    found = [power[:, (hertz >= low) & (hertz < high)].sum(1) for low, high in pairwise(EDGES)]
    return 10 * np.log10(np.stack(found, 1) + 1e-9)


def through(same, sound) -> np.ndarray:
    with torch.no_grad():
        return same.decode(same.encode(torch.from_numpy(sound)[None]))[0].numpy()


def hiss(left, right) -> np.ndarray:
    noise = np.random.default_rng(5).standard_normal((2, 512 * PATCH * STRIDE), np.float32)
    return noise * np.array([[left], [right]], np.float32)


def test_noise_comes_back_as_loud_as_it_was(started, sounds):
    """Principal components alone lose most of it."""
    linear, sound = autoencoder(), hiss(0.1, 0.1)
    start_linear(linear, fit_linear_codec(linear, random_crops(linear, sounds, CONFIG), CONFIG))
    lost = levels(sound) - levels(through(linear, sound))
    kept = levels(sound) - levels(through(started, sound))
    assert lost.min() > 6
    assert np.abs(kept).max() < 3


def test_noise_stays_on_its_side(started):
    """What the carriers make on the quiet side is far below the loud one."""
    found = levels(through(started, hiss(0.2, 0.002)))
    assert (found[0] - found[1]).min() > 10


def test_all_weights_are_finite_and_silence_stays_nearly_silent(started):
    assert all(torch.isfinite(value).all() for value in started.state_dict().values())
    assert np.abs(through(started, np.zeros((2, 64 * PATCH * STRIDE), np.float32))).max() < 0.01


def test_bands_that_do_not_fit_are_refused(sounds):
    many = replace(CONFIG, noise_bands=tuple(np.linspace(1000, 20000, 10)))
    with pytest.raises(ConfigError, match="noise_bands need an encoder width of at least 88, found 64"):
        start_with_noise(autoencoder(), sounds, many)
    with pytest.raises(ConfigError, match="sinusoidal_blocks"):
        start_with_noise(SAME(model_config().same), sounds, CONFIG)
