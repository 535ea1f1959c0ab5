"""Steps of adapter training on MLX: losses and gradients of all layers, and gradient checkpointing."""

import numpy as np
import pytest

from soundloom.engines.stable_audio import find_component
from soundloom.lora.modules import base_weights
from soundloom.training.lora.step import StepConfig, StepDraws, prepare
from tests.lora.made import make_adapter

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.load import load_module  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.stable_audio.conditioner import Conditioner  # noqa: E402
from soundloom.engines.mlx.stable_audio.dit import DiT  # noqa: E402
from soundloom.training.lora.mlx.network import BaseNetwork  # noqa: E402
from soundloom.training.lora.mlx.objective import step_arrays, step_losses  # noqa: E402

CLIPS, FRAMES = 2, 6


@pytest.fixture(scope="module")
def checkpoint(tiny_model_folder):
    from soundloom.checkpoints.stable_audio.open import open_checkpoint

    return open_checkpoint(tiny_model_folder)


def make_network(checkpoint):
    parts = []
    for component, cls in (("dit", DiT), ("conditioner", Conditioner)):
        source = find_component(checkpoint, component)
        parts.append(load_module(lambda cls=cls, config=source.config: cls(config), source.tensors, source.label))
    return BaseNetwork(*parts)


def make_inputs(checkpoint, masked=True):
    rng, channels = np.random.default_rng(0), checkpoint.config.dit.io_channels
    latents, noise = rng.standard_normal((2, CLIPS, channels, FRAMES), dtype=np.float32)
    masks = np.zeros((CLIPS, FRAMES), np.float32)
    if masked:
        masks[0, :2] = 1
    times, dropped = np.array([0.4, 0.7]), np.array([False, True])
    draws = StepDraws(times, noise, np.zeros(CLIPS), masks, dropped)
    prompt = rng.standard_normal((CLIPS, 4, checkpoint.config.model.conditioning.cond_dim), dtype=np.float32)
    inputs = prepare(latents, np.array([FRAMES, FRAMES - 2]), np.float32([3, 9]), times, draws, StepConfig())
    return step_arrays(inputs, prompt)


def value_and_gradients(network, adapter, arrays, repeats=1):
    def loss(tree):
        adapter.set(tree)
        clips, preserved = step_losses(network, arrays, repeats)
        return clips.sum() + preserved

    with mx.stream(mx.cpu):
        value, gradients = mx.value_and_grad(loss)(adapter.start)
        return value.item(), {
            (name, kind): np.array(array) for name, kinds in gradients.items() for kind, array in kinds.items()
        }


@pytest.mark.parametrize("adapter_type", ["dora-rows", "bora-xs"])
@pytest.mark.parametrize("masked", [False, True])
def test_recomputed_blocks_give_the_same_gradients(checkpoint, adapter_type, masked):
    weights = base_weights(checkpoint)
    modules = make_adapter(adapter_type, weights, names=weights).modules
    arrays, found = make_inputs(checkpoint, masked), []
    for recomputes in (False, True):
        network = make_network(checkpoint)
        adapter = network.attach(modules)
        if recomputes:
            network.recompute_blocks()
        found.append(value_and_gradients(network, adapter, arrays))
    (value, gradients), (again, recomputed) = found
    assert again == pytest.approx(value, rel=1e-6)
    assert gradients.keys() == recomputed.keys()
    for key, gradient in gradients.items():
        has_input = masked or ".to_local_embed.0" not in key[0]
        assert np.abs(gradient).max() > 0 or not has_input, key
        np.testing.assert_allclose(recomputed[key], gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max())


def test_one_row_stands_for_equal_rows_of_a_text(checkpoint):
    weights = base_weights(checkpoint)
    network = make_network(checkpoint)
    adapter = network.attach(make_adapter("dora-rows", weights, names=weights).modules)
    short = make_inputs(checkpoint)
    row = short["prompt"][:, -1:]
    long = {**short, "prompt": mx.concatenate([short["prompt"], mx.repeat(row, 5, axis=1)], axis=1)}
    value, gradients = value_and_gradients(network, adapter, short, repeats=6)
    expected, long_gradients = value_and_gradients(network, adapter, long)
    assert value == pytest.approx(expected, rel=1e-5)
    for key, gradient in long_gradients.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())


def test_dropout_multiplies_the_inputs_of_the_low_rank_part(checkpoint):
    weights = base_weights(checkpoint)
    name = "model.transformer.layers.1.ff.ff.2"
    network = make_network(checkpoint)
    module = make_adapter("lora", weights, names=[name]).modules[name]
    adapter, arrays = network.attach({name: module}), make_inputs(checkpoint)
    mask = np.float32(np.arange(weights[name].shape[1]) % 2 * 2)
    tree = adapter.start
    losses = []
    for parameters, masks in (
        (tree, {name: mx.array(mask)}),
        ({name: {**tree[name], "lora_A": tree[name]["lora_A"] * mask}}, {}),
        (tree, {}),
    ):
        adapter.set(parameters, masks)
        losses.append(step_losses(network, arrays)[0].sum().item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] != pytest.approx(losses[2], rel=1e-4)
