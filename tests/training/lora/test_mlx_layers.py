"""Adapters in training: outputs and gradients equal those of the adapted weight as a matrix."""

import numpy as np
import pytest

from soundloom.lora.adapter import TYPES, is_xs
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from tests.lora.adapters import IN, OUT, make_module, make_weight

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.blocks import Linear  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.quantized import PackedLinear, StoredLinear  # noqa: E402
from soundloom.engines.mlx.stable_audio.dit import PointwiseConv  # noqa: E402
from soundloom.training.lora.mlx.layers import TINY, TrainableLayer  # noqa: E402

EPS = 1e-12


def make_linear(weight):
    layer = Linear(IN, OUT, bias=False)
    layer.weight = mx.array(weight)
    return layer, weight


def make_conv(weight):
    layer = PointwiseConv(IN)
    layer.weight = mx.array(weight[:IN, :, None])
    return layer, weight[:IN]


def make_stored(weight):
    layer = StoredLinear(IN, OUT, False, mx.float32)
    layer.weight = mx.array(weight).astype(mx.float16)
    return layer, np.array(layer.weight.astype(mx.float32))


def make_packed(weight, dtype=mx.float32):
    layer = PackedLinear(IN, OUT, False, mx.float32, bits=4, group_size=32)
    layer.weight, layer.scales, layer.biases = mx.quantize(mx.array(weight).astype(dtype), group_size=32, bits=4)
    unpacked = mx.dequantize(layer.weight, layer.scales, layer.biases, group_size=32, bits=4)
    return layer, np.array(unpacked.astype(mx.float32))


LAYERS = {
    "linear": make_linear,
    "convolution": make_conv,
    "stored": make_stored,
    "packed": make_packed,
    "packed with scales in half precision": lambda weight: make_packed(weight, mx.float16),
}


def make(adapter_type, kind="linear"):
    """Return a layer in training, the tensors of its adapter, its weight as an array, and the adapter."""
    layer, weight = LAYERS[kind](make_weight())
    adapter = make_module(adapter_type, shape=weight.shape)
    trainable = TrainableLayer(adapter, layer)
    return trainable, trainable.start, weight, adapter


def adapted_matrix(adapter, weight, tensors):
    """Return the adapted weight by its definition, in operations of MLX."""
    down = tensors["M_xs"] @ mx.array(adapter.array("V")).T if is_xs(adapter.type) else tensors["lora_A"]
    up = mx.array(adapter.array("U")) if is_xs(adapter.type) else tensors["lora_B"]
    matrix = weight + adapter.scale * (up @ down)
    rows = tensors.get("magnitude_r", tensors.get("magnitude") if "rows" in adapter.type else None)
    cols = tensors.get("magnitude_c", tensors.get("magnitude") if "cols" in adapter.type else None)
    if rows is not None:
        matrix = matrix * (rows / (mx.sqrt((matrix * matrix).sum(axis=1)) + EPS))[:, None]
    if cols is not None:
        matrix = matrix * (cols / (mx.sqrt((matrix * matrix).sum(axis=0)) + EPS))
    return matrix


def loss_of(y):
    return (mx.sin(y) * mx.arange(y.shape[-1])).mean()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("adapter_type", TYPES)
def test_outputs_and_gradients_equal_those_of_the_adapted_weight(adapter_type, kind):
    trainable, tensors, weight, adapter = make(adapter_type, kind)
    x = mx.array(np.random.default_rng(5).standard_normal((2, 7, weight.shape[1]), dtype=np.float32))
    with mx.stream(mx.cpu):
        found = mx.value_and_grad(
            lambda t, x: loss_of(trainable.branch(t)(x, trainable.layer.product)), argnums=(0, 1)
        )(tensors, x)
        expected = mx.value_and_grad(
            lambda t, x: loss_of(x @ adapted_matrix(adapter, mx.array(weight), t).T), argnums=(0, 1)
        )(tensors, x)
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-4)
    pairs = {name: (found[1][0][name], expected[1][0][name]) for name in tensors} | {"x": (found[1][1], expected[1][1])}
    for name, (one, other) in pairs.items():
        one, other = np.array(one), np.array(other)
        assert np.abs(one - other).max() <= 2e-5 * np.abs(other).max(), name


@pytest.mark.parametrize("adapter_type", TYPES)
def test_the_branch_equals_the_one_of_inference(adapter_type):
    trainable, tensors, weight, adapter = make(adapter_type)
    x = np.random.default_rng(5).standard_normal((3, IN), dtype=np.float32)
    with mx.stream(mx.cpu):
        found = np.array(trainable.branch(tensors)(mx.array(x), trainable.layer.product))
    expected = x @ adapted_weight(weight, [AdapterPart(adapter)]).T
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("adapter_type", ["dora-rows", "dora-cols", "bora"])
def test_rows_and_columns_of_zeros_have_finite_gradients(adapter_type):
    weight = make_weight()
    weight[3], weight[:, 5] = 0, 0
    layer, _ = make_linear(weight)
    adapter = make_module(adapter_type)
    trainable = TrainableLayer(adapter, layer)
    tensors = dict(trainable.start)
    tensors["lora_B"] = mx.zeros_like(tensors["lora_B"])
    norms = {OUT: np.linalg.norm(weight, axis=1), IN: np.linalg.norm(weight, axis=0)}
    tensors |= {name: mx.array(norms[tensors[name].size]) for name in tensors if name.startswith("magnitude")}
    x = mx.ones((2, IN))
    with mx.stream(mx.cpu):
        _, gradients = mx.value_and_grad(lambda t: loss_of(trainable.branch(t)(x, layer.product)))(tensors)
    assert all(np.isfinite(np.array(gradient)).all() for gradient in gradients.values())
    assert TINY**0.5 < EPS


@pytest.mark.parametrize("adapter_type", TYPES)
def test_gradients_equal_finite_differences(adapter_type):
    trainable, tensors, _, _ = make(adapter_type)
    x = mx.array(np.random.default_rng(5).standard_normal((4, IN), dtype=np.float32))
    rng = np.random.default_rng(6)
    directions = {name: mx.array(rng.standard_normal(array.shape, dtype=np.float32)) for name, array in tensors.items()}

    def loss(t):
        return loss_of(trainable.branch(t)(x, trainable.layer.product))

    def moved(step):
        return loss({name: array + step * directions[name] for name, array in tensors.items()}).item()

    with mx.stream(mx.cpu):
        gradients = mx.grad(loss)(tensors)
        slope = sum((gradients[name] * directions[name]).sum().item() for name in tensors)
        step = 1e-3
        assert (moved(step) - moved(-step)) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("adapter_type", TYPES)
@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_norms_of_weights_in_half_precision_are_exact(adapter_type, dtype):
    layer, _ = make_linear(make_weight())
    layer.weight = layer.weight.astype(dtype)
    same, _ = make_linear(np.array(layer.weight.astype(mx.float32)))
    adapter = make_module(adapter_type)
    scales = []
    with mx.stream(mx.cpu):
        for each in (layer, same):
            trainable = TrainableLayer(adapter, each)

            def total(tensors, trainable=trainable):
                branch = trainable.branch(tensors)
                found = [vector for vector in (branch.rows, branch.cols) if vector is not None]
                return sum((mx.sin(vector).sum() for vector in found), mx.zeros(()))

            value, gradients = mx.value_and_grad(total)(trainable.start)
            scales.append([np.array(array) for array in (value, *gradients.values())])
    for one, other in zip(*scales, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("adapter_type", TYPES)
def test_no_temporary_has_the_size_of_a_weight(adapter_type):
    size = 1024
    layer = Linear(size, size, bias=False)
    layer.weight = layer.weight * 1
    adapter = make_module(adapter_type, shape=(size, size), rank=2)
    trainable, x = TrainableLayer(adapter, layer), mx.ones((2, size))
    step = mx.value_and_grad(lambda tensors: loss_of(trainable.branch(tensors)(x, layer.product)))
    with mx.stream(mx.cpu):
        mx.eval(layer.weight, trainable.start, step(trainable.start))  # computes what stays the same once
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        mx.eval(step(trainable.start))
    assert mx.get_peak_memory() - before < layer.weight.nbytes
