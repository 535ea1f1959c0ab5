"""Autoencoders that start with the loudness of noise beside principal components."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import ConfigError
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init import noise_bands
from soundloom.training.init.linear_codec import fit_linear_codec, init_linear_codec, sample_crops
from soundloom.training.init.noise_bands import init_noise_bands
from tests.training.tiny_recipe import AUTOENCODER, PATCH, SOUNDS, STRIDE, model_config

EDGES = (5000.0, 12000.0, 21000.0)  # two bands of two channels: four latents
CONFIG = replace(AUTOENCODER, noise_bands=EDGES, frames=64, pca_seconds=3.0, emphasis=0.0)


def autoencoder(**changes) -> SAME:
    torch.manual_seed(0)
    config = model_config().same
    encoder = replace(config.encoder, config=replace(config.encoder.config, **changes))
    half = replace(config.decoder.config, sinusoidal_blocks=(2,), **changes)
    return SAME(replace(config, encoder=encoder, decoder=replace(config.decoder, config=half)))


@pytest.fixture(scope="module")
def sounds() -> SyntheticSounds:
    return SyntheticSounds(replace(SOUNDS, clips=12, families=("noise", "bell")))


@pytest.fixture(scope="module")
def initialized(sounds) -> SAME:
    same = autoencoder()
    init_noise_bands(same, sounds, CONFIG)
    return same


def levels(sound) -> np.ndarray:
    """Decibels of each band of each channel, (2, bands)."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(sound.shape[-1], 1 / SAMPLE_RATE)
    found = [power[:, (hertz >= low) & (hertz < high)].sum(1) for low, high in pairwise(EDGES)]
    return 10 * np.log10(np.stack(found, 1) + 1e-9)


def reconstruct(same, sound) -> np.ndarray:
    with torch.no_grad():
        return same.decode(same.encode(torch.from_numpy(sound)[None]))[0].numpy()


def hiss(left, right) -> np.ndarray:
    noise = np.random.default_rng(5).standard_normal((2, 512 * PATCH * STRIDE), np.float32)
    return noise * np.array([[left], [right]], np.float32)


def test_decoded_noise_has_the_original_level(initialized, sounds):
    """The linear codec alone loses most of it."""
    linear, sound = autoencoder(), hiss(0.1, 0.1)
    init_linear_codec(linear, fit_linear_codec(linear, sample_crops(linear, sounds, CONFIG), CONFIG))
    lost = levels(sound) - levels(reconstruct(linear, sound))
    preserved = levels(sound) - levels(reconstruct(initialized, sound))
    assert lost.min() > 6
    assert np.abs(preserved).max() < 3


def test_several_probes_reduce_the_variance_of_levels(sounds, initialized, monkeypatch):
    """Steady noise has a constant level, but its estimate from one probe fluctuates."""

    def variation(same) -> float:
        with torch.no_grad():
            found = same.encode(torch.from_numpy(hiss(0.1, 0.1))[None])[0, -4:]
        floor = same.encode(torch.zeros(1, 2, 16 * PATCH * STRIDE))[0, -4:].mean(1).detach()
        return float((found.std(1) / (found.mean(1) - floor)).mean())

    monkeypatch.setattr(noise_bands, "PROBES", 1)
    single = autoencoder()
    init_noise_bands(single, sounds, CONFIG)
    assert variation(initialized) < 0.85 * variation(single)


def test_level_latents_of_loud_noise_have_moderate_values(initialized, sounds):
    """At unit variance they would be several times larger, since most sounds have little noise."""
    with torch.no_grad():
        crops = [torch.from_numpy(crop)[None] for crop in sample_crops(initialized, sounds, CONFIG)]
        found = torch.cat([initialized.encode(crop)[0, -4:] for crop in crops], dim=1)
    assert found.mean(1).abs().max() < 0.05
    np.testing.assert_allclose(found.quantile(0.99, dim=1), 0.7, rtol=0.05)


def test_noise_stays_in_its_channel(initialized):
    """Carriers in the quiet channel are far below those in the loud one."""
    found = levels(reconstruct(initialized, hiss(0.2, 0.002)))
    assert (found[0] - found[1]).min() > 10


def test_soft_threshold_removes_small_components_and_preserves_large_ones(sounds, initialized):
    thresholded = autoencoder()
    init_noise_bands(thresholded, sounds, replace(CONFIG, soft_threshold=0.05))
    for size, least, most in ((0.02, 0.0, 0.3), (1.0, 0.95, 1.05)):
        latents = torch.zeros(1, initialized.config.latent_dim, 64)
        latents[:, :-4] = size * torch.randn(latents[:, :-4].shape, generator=torch.Generator().manual_seed(1))
        latents[:, -4:] = initialized.encode(torch.zeros(1, 2, 64 * PATCH * STRIDE))[:, -4:].detach()
        with torch.no_grad():
            before, after = (same.decode(latents).square().mean().sqrt() for same in (initialized, thresholded))
        assert least <= float(after / before) <= most


@pytest.mark.parametrize("changes", [{"soft_threshold": -0.1}, {"soft_threshold": 0.1, "noise_bands": ()}])
def test_invalid_soft_threshold_raises(changes):
    with pytest.raises(ConfigError, match=r"soft_threshold (needs noise_bands|must be between 0)"):
        replace(CONFIG, **changes)


def test_all_weights_are_finite_and_silence_stays_nearly_silent(initialized):
    assert all(torch.isfinite(value).all() for value in initialized.state_dict().values())
    assert np.abs(reconstruct(initialized, np.zeros((2, 64 * PATCH * STRIDE), np.float32))).max() < 0.01


def test_too_few_channels_for_the_bands_raise(sounds):
    many = replace(CONFIG, noise_bands=tuple(np.linspace(1000, 20000, 10)))
    with pytest.raises(ConfigError, match="noise_bands need an encoder width of at least 160, found 64"):
        init_noise_bands(autoencoder(), sounds, many)
    with pytest.raises(ConfigError, match="sinusoidal_blocks"):
        init_noise_bands(SAME(model_config().same), sounds, CONFIG)
