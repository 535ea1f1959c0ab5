"""The linear codec that autoencoders start from."""

import numpy as np
import pytest
import torch

from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init.linear_codec import fit_linear_codec, init_linear_codec, patch_rows, sample_crops
from soundloom.training.init.pca import fit_pca
from tests.training.tiny_recipe import AUTOENCODER, LATENT_DIM, PATCH, SOUNDS, STRIDE, WIDTH, model_config


def low_rank_patches(rank: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((60 * STRIDE, rank)) @ rng.standard_normal((rank, 2 * PATCH))


@pytest.mark.parametrize(("emphasis", "whitening"), [(0.0, 0.0), (0.4, 0.5), (0.0, 1.0)])
def test_signals_of_few_components_are_reconstructed(emphasis, whitening):
    patches = low_rank_patches(LATENT_DIM // STRIDE)
    codec = fit_pca(patches, STRIDE, WIDTH, LATENT_DIM, emphasis, whitening, 44100)
    np.testing.assert_allclose(codec.decode(codec.encode(patches)), patches, atol=1e-6)


def test_unweighted_components_are_the_optimal_linear_code_of_centered_sounds():
    mono = np.random.default_rng(1).standard_normal((200, PATCH)) * np.linspace(3, 0.1, PATCH)
    nothing = np.zeros_like(mono)
    patches = np.concatenate([np.hstack([mono, nothing]), np.hstack([nothing, mono])])
    codec = fit_pca(patches, 1, LATENT_DIM, LATENT_DIM, 0.0, 0.0, 44100)
    error = np.square(codec.decode(codec.encode(patches)) - patches).sum()
    values = np.linalg.svd(patches, compute_uv=False)
    assert error == pytest.approx(np.square(values[LATENT_DIM:]).sum())


def test_sounds_from_one_side_are_coded_on_the_other_side_too():
    low = np.cos(np.pi * (np.arange(PATCH) + 0.5) * 3 / PATCH)
    left = np.random.default_rng(5).standard_normal((50, 1)) * np.concatenate([low, 0 * low])
    codec = fit_pca(left, 1, 2, 2, 0.0, 0.0, 44100)
    right = np.concatenate([0 * low, low])[None]
    np.testing.assert_allclose(codec.decode(codec.encode(right)), right, atol=1e-9)


def test_full_whitening_gives_latents_equal_variance():
    patches = np.random.default_rng(2).standard_normal((800, 2 * PATCH)) * np.linspace(3, 0.1, 2 * PATCH)
    codec = fit_pca(patches, STRIDE, WIDTH, LATENT_DIM, 0.0, 1.0, 44100)
    np.testing.assert_allclose(np.square(codec.encode(patches)).mean(0), 1.0, rtol=1e-6)


def test_emphasis_favors_high_frequencies():
    rng = np.random.default_rng(3)
    time = np.arange(PATCH)
    low = np.cos(np.pi * (time + 0.5) * 1 / PATCH)
    high = np.cos(np.pi * (time + 0.5) * 24 / PATCH)
    mono = rng.standard_normal((500, 1)) * low + 0.5 * rng.standard_normal((500, 1)) * high
    patches = np.concatenate([mono, mono], axis=1)
    kept = {}
    for emphasis in (0.0, 1.0):
        codec = fit_pca(patches, 1, 1, 1, emphasis, 0.0, 44100)
        kept[emphasis] = np.abs(codec.decode(codec.encode(patches))[:, :PATCH] @ high).mean()
    assert kept[1.0] > 5 * kept[0.0]


def test_initialized_autoencoder_is_the_linear_codec():
    torch.manual_seed(0)
    same, sounds = SAME(model_config().same), SyntheticSounds(SOUNDS)
    codec = fit_linear_codec(same, sample_crops(same, sounds, AUTOENCODER), AUTOENCODER)
    init_linear_codec(same, codec)
    audio = sounds.sample_crop(np.random.default_rng(4), 8 * PATCH * STRIDE)[1]
    with torch.no_grad():
        made = same.decode(same.encode(torch.from_numpy(audio)[None]))[0].numpy()
    expected = codec.decode(codec.encode(patch_rows(audio, PATCH)))
    np.testing.assert_allclose(patch_rows(made, PATCH), expected, atol=1e-4)
    assert np.square(made - audio).sum() < 0.5 * np.square(audio).sum()
