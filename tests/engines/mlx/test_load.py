"""Loading weights into MLX modules."""

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import LazyTensor, float32_to_bf16, from_array
from soundloom.errors import CheckpointError, MismatchError

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.blocks import Linear  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.load import load_module, named_parameters, to_array  # noqa: E402

WEIGHT = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def load(tensors, **options):
    return load_module(
        lambda: Linear(3, 2), {name: from_array(name, array) for name, array in tensors.items()}, "a layer", **options
    )


def test_weights_are_loaded_in_the_requested_dtype():
    layer = load({"weight": WEIGHT, "bias": np.ones(2, np.float32)}, dtype=mx.float16, keep=("bias",))
    assert {name: array.dtype for name, array in named_parameters(layer).items()} == {
        "weight": mx.float16,
        "bias": mx.float32,
    }
    np.testing.assert_allclose(np.array(layer.weight), WEIGHT, atol=1e-3)


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"weight": WEIGHT}, r"1 tensor missing \(bias\)"),
        ({"weight": WEIGHT, "bias": np.ones(2, np.float32), "other": WEIGHT}, r"1 tensor unexpected \(other\)"),
        ({"weight": WEIGHT.T, "bias": np.ones(2, np.float32)}, r"1 tensor with a wrong shape \(weight"),
    ],
)
def test_names_and_shapes_must_match(tensors, fault):
    with pytest.raises(MismatchError, match=fault):
        load(tensors)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_rejected_by_name(value):
    with pytest.raises(CheckpointError, match="a layer: weight bias"):
        load({"weight": WEIGHT, "bias": np.array([1, value], np.float32)})


def test_bfloat16_is_loaded_bit_for_bit():
    bits = float32_to_bf16(WEIGHT)
    array = to_array(LazyTensor("weight", "BF16", WEIGHT.shape, lambda: bits.reshape(-1).view(np.uint8)))
    assert array.dtype == mx.bfloat16
    np.testing.assert_array_equal(np.array(array.view(mx.uint16)), bits)
