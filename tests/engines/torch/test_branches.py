"""Layers with adapters multiply by the adapted weight, in every precision."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soundloom.checkpoints.formats.affine import quantize
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.config.stable_audio.adapters import Combine
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.blocks import DownProjection, FeedForward, Linear
from soundloom.engines.torch.int8 import HadamardInt8Linear, Int8Branch, Int8Linear
from soundloom.engines.torch.quantized import PackedLinear
from soundloom.engines.torch.stable_audio.dit import PointwiseConv
from soundloom.lora.adapter import TYPES, AdapterType
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.branches import LayerBranch
from soundloom.lora.compile import BranchCompiler
from tests.lora.adapters import IN, OUT, make_module, make_weight

ROWS = 50


def compiled(weight: np.ndarray, parts: list[AdapterPart], combine: Combine = "chain") -> LayerBranch:
    return BranchCompiler({"w": from_array("w", weight)}).compile({"w": parts}, combine).layers["w"]


def stacks(shape: tuple[int, int] = (OUT, IN)) -> dict[str, tuple[list[AdapterPart], Combine]]:
    """Return each type alone, and stacks that need one term and several."""
    found: dict[str, tuple[list[AdapterPart], Combine]] = {
        kind: ([AdapterPart(make_module(kind, shape=shape), 0.8)], "chain") for kind in TYPES
    }
    types: tuple[AdapterType, ...] = ("lora", "dora-rows", "bora")
    mixed = [AdapterPart(make_module(kind, seed, shape), 0.7) for seed, kind in enumerate(types)]
    linear = [AdapterPart(make_module("bora", shape=shape), 0.4, "linear")]
    return found | {"chain": (mixed, "chain"), "sum": (mixed, "sum"), "linear bora": (linear, "chain")}


def relative_error(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted).norm() / wanted.norm())


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


def adapted(weight: np.ndarray, x: Tensor, bias: Tensor | None, name: str) -> Tensor:
    parts, combine = stacks()[name]
    y = x @ torch.from_numpy(adapted_weight(weight, parts, combine)).T
    return y if bias is None else y + bias


@pytest.mark.parametrize("name", stacks())
@pytest.mark.parametrize("bias", [True, False])
def test_linear(name: str, bias: bool) -> None:
    layer, x = Linear(IN, OUT, bias=bias), torch.randn(2, ROWS, IN)
    weight = make_weight()
    layer.weight.copy_(torch.from_numpy(weight))
    base = layer(x)
    layer.branch = layer.make_branch(compiled(weight, *stacks()[name]), FactorCache())
    assert relative_error(layer(x), adapted(weight, x, layer.bias, name)) < 1e-5
    layer.branch = None
    assert torch.equal(layer(x), base)


@pytest.mark.parametrize(("name", "bits"), list(product(stacks(), (4, 8))))
def test_packed_weights_are_adapted_as_dequantized(name: str, bits: int) -> None:
    packed = quantize(make_weight(), bits, 32)
    layer = PackedLinear(IN, OUT, True, torch.float32, bits, 32)
    for buffer, values in zip(("weight", "scales", "biases"), packed, strict=True):
        setattr(layer, buffer, torch.from_numpy(np.asarray(values)))
    weight = layer.widen(slice(None)).numpy()
    x = torch.randn(ROWS, IN)
    layer.branch = layer.make_branch(compiled(weight, *stacks()[name]), FactorCache())
    assert relative_error(layer(x), adapted(weight, x, layer.bias, name)) < 1e-4


def int8_layer(kind: type[Int8Linear], bias: bool) -> tuple[Int8Linear, np.ndarray]:
    weight = make_weight()
    layer = kind(IN, OUT, bias)
    for name, value in kind.quantize(torch.from_numpy(weight)).items():
        setattr(layer, name, value)
    if layer.bias is not None:
        layer.bias.copy_(torch.randn(OUT))
    return layer, weight


@pytest.mark.parametrize("name", stacks())
@pytest.mark.parametrize(("kind", "is_packed"), list(product((Int8Linear, HadamardInt8Linear), (True, False))))
def test_int8(name: str, kind: type[Int8Linear], is_packed: bool) -> None:
    layer, weight = int8_layer(kind, bias=True)
    if is_packed:
        layer.prepack()
    x = torch.randn(2, ROWS, IN)
    base = layer(x)
    layer.branch = layer.make_branch(compiled(weight, *stacks()[name]), FactorCache())
    assert isinstance(layer.branch, Int8Branch) == layer.computes_in_blocks
    error = relative_error(layer(x), adapted(weight, x, layer.bias, name))
    assert error < 1.5e-2  # of the INT8 inputs
    layer.branch = None
    assert torch.equal(layer(x), base)


@pytest.mark.parametrize("name", ["dora-rows", "bora", "chain", "linear bora"])
def test_a_gated_feed_forward_computes_adapters_in_its_blocks(name: str) -> None:
    """The INT8 layer passes blocks of channels through both of its layers."""
    inner = 2 * IN
    layer = FeedForward(IN, inner)
    up, down = layer.ff[0].proj, layer.ff[2]
    assert isinstance(up, Linear) and isinstance(down, DownProjection)
    x = torch.randn(ROWS, IN)
    plain, quantized = layer, FeedForward(IN, inner)
    for path, made in (
        ("ff.0.proj", Int8Linear(IN, 2 * inner, True, parts=2)),
        ("ff.2", HadamardInt8Linear(inner, IN, True)),
    ):
        source = plain.get_submodule(path)
        for key, value in made.quantize(source.weight).items():
            setattr(made, key, value)
        made.bias = source.bias.detach().clone()
        quantized.set_submodule(path, made)
        weight = source.weight.numpy()
        branch = compiled(weight, stacks(weight.shape)[name][0])
        source.branch = source.make_branch(branch, FactorCache())
        made.branch = made.make_branch(branch, FactorCache())
        made.prepack()
    assert relative_error(quantized(x), plain(x)) < 4e-2


def test_convolutions_of_kernel_one() -> None:
    conv = PointwiseConv(IN)
    weight = conv.weight.numpy()[:, :, 0].copy()
    x = torch.randn(1, ROWS, IN)
    parts = stacks((IN, IN))["bora"][0]
    conv.branch = conv.make_branch(compiled(weight, parts), FactorCache())
    assert relative_error(conv(x), x @ torch.from_numpy(adapted_weight(weight, parts)).T + x) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("adapter_type", TYPES)
def test_half_precision(dtype: torch.dtype, adapter_type: AdapterType) -> None:
    layer, weight = Linear(IN, OUT), make_weight()
    layer.weight.copy_(torch.from_numpy(weight))
    parts = [AdapterPart(make_module(adapter_type))]
    x = torch.randn(ROWS, IN)
    layer.to(dtype)
    layer.branch = layer.make_branch(compiled(weight, parts), FactorCache())
    wanted = x @ torch.from_numpy(adapted_weight(weight, parts)).T + layer.bias.float()
    assert relative_error(layer(x), wanted) < (1e-2 if dtype == torch.bfloat16 else 2e-3)


def test_a_branch_is_no_part_of_a_layers_state() -> None:
    layer = Linear(IN, OUT)
    names = set(layer.state_dict())
    layer.branch = layer.make_branch(compiled(make_weight(), stacks()["bora"][0]), FactorCache())
    assert set(layer.state_dict()) == names and not list(layer.children())
    assert isinstance(layer, nn.Module)
