"""Augmentation of the autoencoder's crops."""

import numpy as np

from soundloom.training.config import AugmentationConfig
from soundloom.training.data.augmentation import augment, chirp, random_crop

RATE = 44100


def test_augmentation_adds_silence_tails_and_sweeps():
    crops = np.ones((200, 2, 100), np.float32)
    config = AugmentationConfig(silence=0.2, silent_tail=0.5, max_tail=10, chirps=3)
    augmented = augment(crops, config, np.random.default_rng(0), RATE)
    assert augmented.shape == (203, 2, 100)
    audible = augmented[:200, 0] != 0
    assert 20 < (~audible.any(1)).sum() < 60
    ends = audible.any(1) & ~audible[:, -1]
    assert 60 < ends.sum() < 100
    assert audible[ends, :90].all()
    assert crops.all()


def test_sweep_is_mono_and_stays_in_its_band_and_level():
    for seed in range(10):
        sweep = chirp(np.random.default_rng(seed), 8192, RATE)
        assert sweep.dtype == np.float32
        np.testing.assert_array_equal(sweep[0], sweep[1])
        assert 10 ** (-24 / 20) * 0.9 < np.abs(sweep).max() < 10 ** (-6 / 20) * 1.1
        spectrum = np.abs(np.fft.rfft(sweep[0] * np.hanning(8192))) ** 2
        below = spectrum[: int(80 / RATE * 8192)].sum()
        assert below < 0.05 * spectrum.sum()


def test_random_crop_pads_short_sounds_with_silence():
    crop = random_crop(np.ones((2, 5), np.float32), np.random.default_rng(0), 8)
    np.testing.assert_array_equal(crop[0], [1, 1, 1, 1, 1, 0, 0, 0])
