"""Affine quantization against hand-worked numbers and against MLX."""

import numpy as np
import pytest

from soundloom.checkpoints.formats.affine import BITS, GROUP_SIZES, Quantized, dequantize, pack, quantize, unpack

EACH_FORM = [(bits, group_size) for bits in BITS for group_size in GROUP_SIZES]


def draw(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_the_lowest_bits_of_a_word_hold_the_first_value():
    codes = np.array([[1, 2, 3, 4, 5, 6, 7, 15]], np.uint32)
    assert pack(codes, 4).tolist() == [[0xF7654321]]
    assert pack(codes[:, :4], 8).tolist() == [[0x04030201]]


@pytest.mark.parametrize("bits", BITS)
def test_unpack_inverts_pack(bits):
    codes = np.random.default_rng(0).integers(0, 2**bits, (3, 64), dtype=np.uint32)
    np.testing.assert_array_equal(unpack(pack(codes, bits), bits), codes)


def test_values_on_the_quantization_grid_are_exact():
    weight = np.tile(np.arange(-8, 8, dtype=np.float32) / 4, (2, 2))
    np.testing.assert_array_equal(dequantize(quantize(weight, 4, 32), 4, 32), weight)


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_group_is_exact(value):
    weight = np.full((1, 32), value, np.float32)
    np.testing.assert_allclose(dequantize(quantize(weight, 4, 32), 4, 32), weight, rtol=1e-6)


@pytest.mark.parametrize(("bits", "group_size"), EACH_FORM)
def test_zero_is_exact_and_errors_stay_below_one_step(bits, group_size):
    weight = draw(8, 256)
    weight[:, ::7] = 0
    found = quantize(weight, bits, group_size)
    back = dequantize(found, bits, group_size)
    np.testing.assert_allclose(back[:, ::7], 0, atol=1e-6)
    step = np.abs(found.scales).repeat(group_size, axis=1)
    assert (np.abs(back - weight) <= step * 1.001).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("bits", "group_size"), EACH_FORM)
def test_results_are_bit_identical_to_mlx(bits, group_size, dtype, seed):
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    weight = draw(16, 256, seed=seed, dtype=dtype)
    weight[1] = np.abs(weight[1])
    weight[2] = 0
    weight[3] *= 1e-3
    found = quantize(weight, bits, group_size)
    wanted = mx.quantize(mx.array(weight), group_size=group_size, bits=bits)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, np.array(theirs))
    back = mx.dequantize(*wanted, group_size=group_size, bits=bits)
    np.testing.assert_array_equal(dequantize(Quantized(*map(np.array, wanted)), bits, group_size), np.array(back))
