"""Chunks of SAME-S that run in groups give the result of a single pass, in less memory."""

import numpy as np
import pytest

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.pipeline.stable_audio.chunks import decode_latents, encode_audio

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.stable_audio import same  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.stable_audio.engine import MLXEngine  # noqa: E402 (needs MLX)

CHUNK_TOKENS = 34
UNLIMITED = 1 << 30


@pytest.fixture(scope="module")
def engine(tiny_model_folder):
    return MLXEngine(open_checkpoint(tiny_model_folder), "cpu")


@pytest.fixture
def grouped_and_whole(monkeypatch):
    """Call a function with groups of three chunks, then with all chunks at once; return both results."""

    def run(function):
        results = []
        for tokens in (3 * CHUNK_TOKENS, UNLIMITED):
            monkeypatch.setattr(same, "GROUP_TOKENS", tokens)
            results.append(function())
        return results

    return run


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("latents", [1, 2, 7, 16, 33])
def test_groups_decode_and_encode_like_a_single_pass(engine, grouped_and_whole, latents, batch):
    channels = engine.checkpoint.config.model.io_channels
    decoded = grouped_and_whole(lambda: engine.decode(normal(batch, channels, latents), None))
    encoded = grouped_and_whole(lambda: engine.encode(normal(batch, 2, latents * 4096 - 100), None))
    np.testing.assert_array_equal(*decoded)
    np.testing.assert_array_equal(*encoded)


@pytest.mark.parametrize("algorithm", ["exact", "published", "mlx"])
def test_groups_change_no_chunk_algorithm(engine, grouped_and_whole, algorithm):
    config = engine.checkpoint.config
    latents, audio = normal(1, config.model.io_channels, 141), normal(1, 2, 141 * 4096 - 100)
    np.testing.assert_array_equal(*grouped_and_whole(lambda: decode_latents(engine, config, latents, algorithm)))
    np.testing.assert_array_equal(*grouped_and_whole(lambda: encode_audio(engine, config, audio, algorithm)))


def test_a_group_bounds_the_memory_of_a_batch(engine, grouped_and_whole):
    resampler = engine.module("decoder").decoder.layers["3"]
    tokens = mx.zeros((4, 64 * CHUNK_TOKENS, resampler.config.width))

    def peak():
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(resampler.attend(tokens))
        return mx.get_peak_memory() - before

    grouped, whole = grouped_and_whole(peak)
    assert grouped < 0.15 * whole  # 0.25 if groups are not evaluated one by one
