"""Fused operations of the MLX layers equal their reference implementations."""

import shutil

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx import blocks  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.musicgen import encodec, lm  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.stable_audio import t5gemma  # noqa: E402 (needs MLX)

FUSED = {
    blocks.modulate: [(2, 0, 4), (2, 1, 4), (2, 1, 4)],  # 0 stands for the length
    blocks.add_gated: [(2, 0, 4), (2, 0, 4), (2, 1, 4)],
    blocks.silu_gated: [(2, 0, 4), (2, 0, 4)],
    blocks.sine_gated: [(2, 0, 4), (2, 0, 4)],
    blocks.rotate_pairs: [(2, 0, 4), (2, 0, 4), (0, 4), (0, 4)],
    blocks.dynamic_tanh: [(2, 0, 4), (1,), (4,), (4,)],
    t5gemma.gelu_gated: [(2, 0, 4), (2, 0, 4)],
    lm.gelu: [(2, 0, 4)],
    encodec.elu: [(2, 0, 4)],
    encodec.lstm_cell: [(2, 0, 4)] * 5,
}


@pytest.mark.skipif(shutil.which("g++") is None, reason="MLX compiles for CPUs with g++, which is not installed")
@pytest.mark.parametrize("function", FUSED, ids=lambda function: function.__name__)
def test_one_compiled_kernel_handles_every_length(function):
    plain = function.__wrapped__
    kernel = mx.compile(plain, shapeless=True)
    for length in (3, 8):
        arrays = [mx.random.normal([n or length for n in shape]) for shape in FUSED[function]]
        found, wanted = kernel(*arrays), plain(*arrays)
        pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
        for one, other in pairs:
            assert mx.allclose(one, other, rtol=1e-6, atol=1e-6)
            assert one.shape == (2, length, 4)


@pytest.mark.parametrize("length", [5, 6, 17, 24])
def test_windowed_attention_equals_attention_under_a_band_mask(length):
    window = 3
    q, k, v = (mx.random.normal((2, 2, length, 8), key=mx.random.key(i)) for i in range(3))
    places = np.arange(length)
    band = mx.array(np.abs(places[:, None] - places) <= window)
    wanted = mx.fast.scaled_dot_product_attention(q, k, v, scale=8**-0.5, mask=band)
    np.testing.assert_allclose(blocks.attend_window(q, k, v, window), wanted, atol=1e-6)


def test_norms_compute_in_float32_for_half_precision_input():
    norm = blocks.RMSNorm(4, 1e-5)
    x = mx.array([[300.0, 300.0, 300.0, 300.0]], dtype=mx.float16)  # their squares overflow float16
    assert norm(x).dtype == mx.float16
    np.testing.assert_allclose(norm(x), 1, atol=1e-3)
