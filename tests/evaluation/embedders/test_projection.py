import numpy as np
import pytest

from soundloom.errors import RequestError
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.embedders.projection import RATE, WINDOW


def noise(count, seed=0, level=0.1):
    return (level * np.random.Generator(np.random.Philox(seed)).standard_normal((count, WINDOW))).astype(np.float32)


def test_a_window_has_the_same_vector_alone_and_in_a_batch():
    embedder, windows = load_embedder("log-mel"), noise(3)
    together = embedder.embed(windows)
    assert together.shape == (3, embedder.info.dimensions)
    assert together.dtype == np.float32
    assert np.array_equal(together[1:2], embedder.embed(windows[1:2]))
    assert embedder.embed(windows[:0]).shape == (0, embedder.info.dimensions)


def test_vectors_and_hash_stay_the_same_in_all_versions():
    # Stored references are valid only while these hold.
    embedder = load_embedder("log-mel")
    sine = np.sin(2 * np.pi * 440 * np.arange(WINDOW) / RATE)[None].astype(np.float32)
    assert embedder.info.hash.startswith("0f0b8d4e028b")
    assert embedder.embed(sine)[0, :3] == pytest.approx([0.01025, -6.67637, 1.60970], abs=2e-3)


def test_noise_is_nearer_to_noise_than_to_pulses_of_the_same_spectrum():
    embedder = load_embedder("log-mel")
    pulses = noise(1, 2)
    pulses[0, np.arange(WINDOW) % 11025 > 2000] = 0
    first, second, other = embedder.embed(np.concatenate([noise(1, 0), noise(1, 1), pulses]))
    assert np.linalg.norm(first - second) < 0.1 * np.linalg.norm(first - other)


def test_other_lengths_and_values_that_are_not_finite_are_refused():
    embedder = load_embedder("log-mel")
    with pytest.raises(RequestError, match=r"windows of shape \(b, 44100\), found \(1, 100\)"):
        embedder.embed(np.zeros((1, 100), np.float32))
    with pytest.raises(RequestError, match="not finite"):
        embedder.embed(np.full((1, WINDOW), np.nan, np.float32))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RequestError, match="did you mean log-mel"):
        load_embedder("logmel")
