"""Packed weights on both engines: the matmuls of dequantized weights, in packed memory."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom.checkpoints.formats.packed import join_packed, pack_tensor
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.bundle import pack_transformer
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, dit_shapes
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import CheckpointError
from tests.parity.adapter import ADAPTERS

INPUTS, OUTPUTS = 256, 48


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.fixture(params=["torch", "mlx"])
def engine(request):
    pytest.importorskip("torch" if request.param == "torch" else "mlx.core")
    return ADAPTERS[request.param]()


def weights(bits=4, group_size=64):
    packed = pack_tensor(from_array("0.weight", normal(OUTPUTS, INPUTS)), bits, group_size)
    return {"0.weight": packed, "0.bias": from_array("0.bias", normal(OUTPUTS, seed=1))}


def build(engine, tensors, dtype="float32"):
    def make():
        linear = engine.module("blocks").Linear(INPUTS, OUTPUTS)
        return torch_list(linear) if engine.name == "torch" else mlx_list(linear)

    return engine.build(make, tensors, "a layer", dtype)


def torch_list(linear):
    from torch import nn

    return nn.ModuleList([linear])


def mlx_list(linear):
    from mlx import nn

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self["0"] = linear

    return Layers()


def layer_of(module, engine):
    return module[0] if engine.name == "torch" else module["0"]


@pytest.mark.parametrize(("bits", "group_size"), [(4, 32), (4, 64), (4, 128), (8, 64)])
@pytest.mark.parametrize("block_values", [1 << 19, 5 * INPUTS, 1])
def test_packed_layers_equal_their_dequantized_weight(engine, bits, group_size, block_values, monkeypatch):
    monkeypatch.setattr(engine.module("quantized"), "BLOCK_VALUES", block_values)
    tensors = weights(bits, group_size)
    x = normal(2, 7, INPUTS, seed=2)
    wanted = x @ tensors["0.weight"].numpy().astype(np.float32).T + tensors["0.bias"].numpy()
    found = engine.numpy(layer_of(build(engine, tensors), engine)(engine.array(x)))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_packed_layers_in_half_precision_are_close(engine, dtype):
    tensors = weights()
    x = normal(7, INPUTS, seed=2)
    wanted = x @ tensors["0.weight"].numpy().astype(np.float32).T + tensors["0.bias"].numpy()
    found = engine.numpy(layer_of(build(engine, tensors, dtype), engine)(engine.array(x)))
    assert np.abs(found - wanted).max() <= (2e-3 if dtype == "float16" else 2e-2) * np.abs(wanted).max()


def test_scales_that_are_not_finite_are_rejected_by_name(engine):
    good = weights()["0.weight"]
    scales = from_array("", np.full(good.scales.shape, np.inf, np.float16))
    bad = join_packed("0.weight", good.packed, scales, good.biases, good.bits, good.group_size)
    with pytest.raises(CheckpointError, match=r"a layer: weight 0\.scales"):
        build(engine, weights() | {"0.weight": bad})


def live_bytes(module, engine):
    if engine.name == "torch":
        return sum(tensor.nbytes for tensor in module.state_dict().values())
    from soundloom.engines.mlx.load import named_parameters

    return sum(array.nbytes for array in named_parameters(module).values())


def test_int4_weights_take_at_most_032_of_their_half_precision_bytes(engine):
    config = replace(CATALOGUE["small-music"].parsed_config().dit, depth=1)
    shapes = dit_shapes(config)
    # Zeros: only bytes count here. One block of full width; with more blocks the share of other weights is smaller.
    names = {DIT_PREFIX + name: shape for name, shape in shapes.items()}
    plain = {name: from_array(name, np.zeros(shape, np.float32)) for name, shape in names.items()}
    tensors = {name.removeprefix(DIT_PREFIX): tensor for name, tensor in pack_transformer(plain, 4, 64).items()}
    dit = engine.build(lambda: engine.module("stable_audio.dit").DiT(config), tensors, "dit", "float16")
    half = 2 * sum(int(np.prod(shape)) for shape in shapes.values())
    assert live_bytes(dit, engine) <= 0.32 * half


def test_packed_parameters_have_equal_names_on_both_engines(tiny_model_folder, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    from soundloom.checkpoints.stable_audio.open import open_checkpoint
    from soundloom.checkpoints.stable_audio.save import save_checkpoint
    from soundloom.engines.mlx.load import named_parameters

    source = open_checkpoint(tiny_model_folder)
    save_checkpoint(tmp_path, "int4", source.config, dict(source.tensors), source.text_encoder, "small-music")
    checkpoint = open_checkpoint(tmp_path)
    parts = {}
    for name in ("torch", "mlx"):
        engine = ADAPTERS[name]()
        make = engine.module("stable_audio.dit").DiT
        module = engine.build(lambda make=make: make(checkpoint.config.dit), checkpoint.component(DIT_PREFIX), "dit")
        state = module.state_dict() if isinstance(module, torch.nn.Module) else named_parameters(module)
        parts[name] = {key: tuple(value.shape) for key, value in state.items()}
    assert parts["torch"] == parts["mlx"]


def test_a_seed_gives_the_same_clip_on_both_engines_from_packed_weights(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    import soundloom
    from soundloom.testing.stable_audio import make_random

    folder = make_random("small-music", tmp_path, layout="int4", size="tiny")
    first, second = (
        soundloom.load(folder, engine=name, device="cpu", precision="fp32")
        .generate("a small bell", seconds=1.0, seed=7, steps=2)
        .audio.astype(np.float64)
        for name in ("torch", "mlx")
    )
    assert 10 * np.log10((first**2).sum() / ((first - second) ** 2).sum()) > 60
