"""AdamW on one vector takes the steps of PyTorch's."""

import numpy as np
import pytest

from soundloom.training.config import LoopConfig

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from soundloom.training.lora.mlx.optimizer import (  # noqa: E402 (needs MLX)
    AdamState,
    FlatLayout,
    adamw,
    clipped,
    step_scalars,
)

SHAPES = {"lora_A": (2, 5), "magnitude": (3,), "lora_B": (3, 2)}


def random_tree(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {"layer": {kind: rng.standard_normal(shape, dtype=np.float32) for kind, shape in shapes.items()}}


def on_device(tree):
    return {name: {kind: mx.array(array) for kind, array in kinds.items()} for name, kinds in tree.items()}


def loop_config(**values):
    return LoopConfig(steps=20, learning_rate=0.01, final_learning_rate=0.001, warmup_steps=2, **values)


@pytest.mark.parametrize("shapes", [SHAPES, {"lora_A": (2, 5)}, {"magnitude": (3,)}])
def test_a_vector_holds_all_tensors(shapes):
    tree = random_tree(0, shapes)
    layout = FlatLayout(on_device(tree))
    vector = layout.join(on_device(tree))
    assert layout.matrices == sum(int(np.prod(shape)) for shape in shapes.values() if len(shape) == 2)
    split = layout.split(vector)
    assert split.keys() == tree.keys()
    for kind, array in tree["layer"].items():
        np.testing.assert_array_equal(np.array(split["layer"][kind]), array)


@pytest.mark.parametrize("decay_vectors", [False, True])
def test_steps_equal_those_of_pytorch(decay_vectors):
    config = loop_config(weight_decay=0.1, decay_vectors=decay_vectors, epsilon=1e-6, clip_norm=0.7)
    start = random_tree(0)
    with mx.stream(mx.cpu):
        layout = FlatLayout(on_device(start))
        state = AdamState.start(layout.join(on_device(start)))
    parameters = {kind: torch.nn.Parameter(torch.from_numpy(array.copy())) for kind, array in start["layer"].items()}
    groups = [
        {"params": [parameters["lora_A"], parameters["lora_B"]], "weight_decay": 0.1},
        {"params": [parameters["magnitude"]], "weight_decay": 0.1 if decay_vectors else 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=config.betas, eps=config.epsilon)
    for step in range(8):
        gradients = random_tree(step + 1)
        for kind, parameter in parameters.items():
            parameter.grad = torch.from_numpy(gradients["layer"][kind].copy())
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm)
        scalars = step_scalars(step, config)
        with mx.stream(mx.cpu):
            gradient, found = clipped(layout.join(on_device(gradients)), config.clip_norm)
            state = adamw(state, gradient, scalars, layout.matrices, config)
        assert found.item() == pytest.approx(norm.item(), rel=1e-6)
        for group in optimizer.param_groups:
            group["lr"] = scalars[1].item() * (1 - config.betas[0] ** (step + 1))
        optimizer.step()
    for kind, array in layout.split(state.parameters)["layer"].items():
        np.testing.assert_allclose(np.array(array), parameters[kind].detach().numpy(), rtol=2e-6, atol=1e-7)
