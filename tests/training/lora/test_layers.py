"""Adapters in training: outputs, gradients, and that nothing of the size of a weight is formed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.lora.adapter import TYPES, ModuleAdapter, is_xs, kinds_of
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.training.lora import norms
from soundloom.training.lora.config import AdapterConfig
from soundloom.training.lora.dropout import dropout_masks
from soundloom.training.lora.layers import TrainableLayer
from soundloom.training.lora.start import start_adapter

OUT, IN, RANK = 20, 12, 3


def trained(adapter_type: str, weight: np.ndarray, seed: int = 0) -> ModuleAdapter:
    """Return an adapter that changes much, with some negative magnitudes."""
    rng = np.random.default_rng(seed)
    config = AdapterConfig(type=adapter_type, rank=RANK, alpha=2 * RANK)
    (adapter,) = start_adapter({"layer": from_array("layer", weight)}, config, seed).values()
    for kind in kinds_of(adapter_type):
        array = adapter.array(kind)
        change = 0.3 * rng.standard_normal(array.shape)
        array = array * (1 + change) if kind.startswith("magnitude") else array + change
        adapter = adapter.with_tensors(**{kind: from_array(kind, array.astype(np.float32))})
    return adapter


def random_weight(out: int = OUT, inputs: int = IN) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((out, inputs)).astype(np.float32)


def layer_of(adapter: ModuleAdapter, weight: np.ndarray, dtype: torch.dtype = torch.float32) -> TrainableLayer:
    return TrainableLayer(adapter, torch.from_numpy(weight).to(dtype))


def output(layer: TrainableLayer, x: torch.Tensor) -> torch.Tensor:
    return layer(x, lambda value: F.linear(value.to(layer.weight.dtype), layer.weight))


@pytest.mark.parametrize("adapter_type", TYPES)
def test_a_branch_computes_the_adapted_weight(adapter_type):
    weight = random_weight()
    adapter = trained(adapter_type, weight)
    x = torch.randn(2, 5, IN, generator=torch.Generator().manual_seed(0))
    wanted = F.linear(x, torch.from_numpy(adapted_weight(weight, [AdapterPart(adapter)])))
    torch.testing.assert_close(output(layer_of(adapter, weight), x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("adapter_type", TYPES)
def test_new_adapters_change_nothing(adapter_type):
    weight = random_weight()
    config = AdapterConfig(type=adapter_type, rank=RANK)
    (adapter,) = start_adapter({"layer": from_array("layer", weight)}, config, 0).values()
    x = torch.randn(4, IN)
    found = output(layer_of(adapter, weight), x)
    torch.testing.assert_close(found, F.linear(x, torch.from_numpy(weight)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("adapter_type", TYPES)
def test_gradients_agree_with_finite_differences(adapter_type):
    weight = random_weight()
    layer = layer_of(trained(adapter_type, weight), weight).double()
    layer.weight = layer.weight.double()
    x = torch.randn(6, IN, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(6, OUT, dtype=torch.float64)
    parameters = {name: p.detach().clone().requires_grad_() for name, p in layer.named_parameters()}

    def loss(x, *values):
        arguments = (x, lambda value: F.linear(value, layer.weight))
        y = torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), arguments)
        return (y * direction).sum()

    assert torch.autograd.gradcheck(loss, (x, *parameters.values()))


@pytest.mark.parametrize("adapter_type", TYPES)
def test_zero_rows_and_columns_have_finite_gradients(adapter_type):
    weight = random_weight()
    weight[3], weight[:, 4] = 0, 0
    config = AdapterConfig(type=adapter_type, rank=RANK)
    (adapter,) = start_adapter({"layer": from_array("layer", weight)}, config, 0).values()
    layer = layer_of(adapter, weight)
    y = output(layer, torch.randn(4, IN))
    y.square().sum().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("adapter_type", TYPES)
def test_a_base_in_half_precision_has_nearly_exact_norms(adapter_type):
    weight = torch.from_numpy(random_weight(64, 48)).bfloat16()
    adapter = trained(adapter_type, weight.float().numpy())
    half, single = TrainableLayer(adapter, weight), TrainableLayer(adapter, weight.float())
    for found, wanted in zip(half.scales(*half.factors()), single.scales(*single.factors()), strict=True):
        if wanted is not None:
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0)
            (found.square().sum() + wanted.square().sum()).backward(retain_graph=True)
    for found, wanted in zip(half.parameters(), single.parameters(), strict=True):
        if wanted.grad is not None:  # lora and lora-xs have no norms
            torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-2 * float(wanted.grad.abs().max()))


class Sizes(TorchDispatchMode):
    """Record the size of the largest tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[int, str]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.storages.setdefault(tensor.untyped_storage().data_ptr(), (tensor.numel(), str(func)))
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("adapter_type", TYPES)
def test_no_tensor_of_the_size_of_a_weight_is_formed(adapter_type, dtype, monkeypatch):
    monkeypatch.setattr(norms, "BLOCK_ELEMENTS", 1 << 10)
    weight = random_weight(256, 192)
    layer = layer_of(trained(adapter_type, weight), weight, dtype)
    x = torch.randn(8, 192, requires_grad=True)
    with Sizes() as sizes:
        output(layer, x).float().square().sum().backward()
    sizes.storages.pop(layer.weight.untyped_storage().data_ptr(), None)
    assert max(size for size, _ in sizes.storages.values()) < weight.size // 8


def test_dropout_multiplies_inputs_of_the_low_rank_part_in_training_only():
    weight, x = random_weight(), torch.randn(3, IN, generator=torch.Generator().manual_seed(0))
    adapter = trained("dora-rows", weight)
    mask = dropout_masks(np.random.default_rng(0), {"layer": IN}, 0.5)["layer"]
    assert set(mask) == {0.0, 2.0}
    layer = layer_of(adapter, weight)
    whole = output(layer, x)
    layer.mask = torch.from_numpy(mask)
    dropped = layer_of(adapter.with_tensors(lora_A=from_array("lora_A", adapter.array("lora_A") * mask)), weight)
    torch.testing.assert_close(output(layer.train(), x), output(dropped, x))
    torch.testing.assert_close(output(layer.eval(), x), whole)


@pytest.mark.parametrize("adapter_type", TYPES)
def test_the_state_holds_the_adapter_alone(adapter_type):
    weight = random_weight()
    adapter = trained(adapter_type, weight)
    layer = layer_of(adapter, weight)
    expected = set(kinds_of(adapter_type)) | ({"U", "V"} if is_xs(adapter_type) else set())
    assert set(layer.state_dict()) == expected
    copied = layer.adapter()
    for kind in expected:
        np.testing.assert_array_equal(copied.array(kind), adapter.array(kind))
