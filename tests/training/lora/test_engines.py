"""PyTorch and MLX take the same training steps, with the same draws, logs and held-out losses."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.checkpoints.stable_audio.open import open_checkpoint  # noqa: E402 (needs MLX)
from soundloom.engines.stable_audio import find_component  # noqa: E402
from soundloom.engines.torch.load import load_module  # noqa: E402
from soundloom.engines.torch.stable_audio.conditioner import Conditioner  # noqa: E402
from soundloom.engines.torch.stable_audio.dit import DiT  # noqa: E402
from soundloom.lora.modules import base_weights  # noqa: E402
from soundloom.testing.stable_audio import make_random  # noqa: E402
from soundloom.training.loop.trainer import Trainer  # noqa: E402
from soundloom.training.lora.mlx.trainer import MLXTrainer  # noqa: E402
from soundloom.training.lora.network import BaseNetwork  # noqa: E402
from soundloom.training.lora.start import start_adapter  # noqa: E402
from soundloom.training.lora.task import LoraTask  # noqa: E402
from tests.training.lora.test_mlx_trainer import make_config, make_task  # noqa: E402


def torch_task(checkpoint, config, sampler, held_out):
    """Return the task on PyTorch that equals one on MLX."""
    parts = [find_component(checkpoint, component) for component in ("dit", "conditioner")]
    modules = [
        load_module(lambda cls=cls, part=part: cls(part.config), part.tensors, part.label)
        for cls, part in zip((DiT, Conditioner), parts, strict=True)
    ]
    network, weights = BaseNetwork(*modules), base_weights(checkpoint)
    chosen = {name: weights[name] for name in config.adapter.layers(list(weights))}
    module = network.attach(start_adapter(chosen, config.adapter, config.loop.seed))
    return LoraTask(network, module, sampler, config, held_out)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    names = ("small-music", "medium")
    return {name: open_checkpoint(make_random(name, folder / name, size="tiny")) for name in names}


@pytest.mark.parametrize(
    ("model", "adapter_type", "dropout"),
    [
        ("small-music", "dora-rows", 0.0),
        ("small-music", "bora", 0.3),
        ("small-music", "dora-cols-xs", 0.0),
        ("medium", "dora-rows", 0.0),  # differential attention
    ],
)
def test_both_engines_take_the_same_steps(checkpoints, tmp_path, model, adapter_type, dropout):
    checkpoint = checkpoints[model]
    # With a large epsilon, entries with hardly any gradient do not move in a direction that rounding decides.
    config = make_config(4, adapter_type, accumulate=2, epsilon=1e-3, ema=0.9)
    config = replace(config, adapter=replace(config.adapter, dropout=dropout))
    folders = {engine: tmp_path / engine for engine in ("torch", "mlx")}
    for folder in folders.values():
        folder.mkdir()
    with mx.stream(mx.cpu):
        on_mlx = make_task(checkpoint, config)
        mlx_trainer = MLXTrainer(on_mlx, folders["mlx"])
        mlx_trainer.train()
        found = {
            f"{name}.{kind}": np.array(array)
            for name, kinds in mlx_trainer.tree.items()
            for kind, array in kinds.items()
        }
    task = torch_task(checkpoint, config, on_mlx.sampler, on_mlx.held_out)
    Trainer(task, config.loop, folders["torch"]).train()
    for name, layer in task.module.all.items():
        for kind, parameter in layer.named_parameters():
            expected = parameter.detach().numpy()
            error = np.abs(found[f"{name}.{kind}"] - expected).max()
            assert error <= 1e-4 * np.abs(expected).max(), (name, kind)
    logs = [
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in folders.values()
    ]
    assert len(logs[0]) == len(logs[1]) == 3
    for one, other in zip(*logs, strict=True):
        assert list(one) == list(other)
        assert one == pytest.approx(other, rel=1e-3, abs=2e-5)
