"""Prepacked layers give the outputs of the layers they replace."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.checkpoints.formats.packed import pack_tensor  # noqa: E402
from soundloom.checkpoints.formats.tensors import from_array  # noqa: E402
from soundloom.engines.torch.blocks import HAS_ONEDNN, Linear  # noqa: E402
from soundloom.engines.torch.load import load_module  # noqa: E402
from soundloom.engines.torch.prepack import PrepackedInt4, PrepackedLinear, prepack  # noqa: E402


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def loaded(weight, dtype) -> torch.nn.Module:
    outputs, inputs = weight.shape
    layers = lambda: torch.nn.ModuleList([Linear(inputs, outputs, bias=False)])  # noqa: E731
    return load_module(layers, {"0.weight": weight}, "a layer", "cpu", dtype)


@pytest.mark.skipif(not HAS_ONEDNN, reason="this torch has no oneDNN")
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_prepacked_bf16_layers_give_equal_outputs(rows: int) -> None:
    module = loaded(from_array("0.weight", normal(48, 80)), torch.bfloat16)
    x = torch.from_numpy(normal(rows, 1, 80, seed=1))
    wanted = module[0](x)
    prepack(module)
    assert isinstance(module[0], PrepackedLinear)
    torch.testing.assert_close(module[0](x), wanted, rtol=0.02, atol=0.05)


@pytest.mark.parametrize(("outputs", "group_size"), [(48, 32), (64, 64), (32, 128), (592, 64)])
@pytest.mark.parametrize("rows", [1, 33])
def test_prepacked_int4_layers_equal_their_dequantized_weight(outputs: int, group_size: int, rows: int) -> None:
    packed = pack_tensor(from_array("0.weight", normal(outputs, 256)), 4, group_size)
    module = loaded(packed, torch.bfloat16)
    prepack(module)
    assert isinstance(module[0], PrepackedInt4)
    x = torch.from_numpy(normal(rows, 1, 256, seed=1))
    wanted = x @ torch.from_numpy(packed.numpy().astype(np.float32)).T
    assert (module[0](x).float() - wanted).abs().max() <= 0.01 * wanted.abs().max()


def test_float32_layers_are_not_prepacked() -> None:
    for weight in (from_array("0.weight", normal(48, 64)), pack_tensor(from_array("0.weight", normal(48, 64)), 4, 64)):
        module = loaded(weight, torch.float32)
        before = type(module[0])
        prepack(module)
        assert type(module[0]) is before


def test_each_replaced_layer_is_reported() -> None:
    layers = lambda: torch.nn.ModuleList([Linear(64, 48, bias=False), torch.nn.LayerNorm(48)])  # noqa: E731
    weights = {"0.weight": normal(48, 64), "1.weight": normal(48), "1.bias": normal(48)}
    module = load_module(
        layers, {name: from_array(name, array) for name, array in weights.items()}, "layers", "cpu", torch.bfloat16
    )
    replaced: list[str] = []
    prepack(module, replaced.append)
    assert replaced == ["0"]


def test_prepacking_twice_changes_nothing() -> None:
    module = loaded(from_array("0.weight", normal(48, 64)), torch.bfloat16)
    prepack(module)
    first = module[0]
    prepack(module)
    assert module[0] is first
