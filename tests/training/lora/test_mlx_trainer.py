"""The training loop on MLX: it learns, resumes bit for bit, and stops where losses or states are bad."""

import json
from dataclasses import replace
from shutil import which

import numpy as np
import pytest

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.errors import TrainingError
from soundloom.lora.adapter import TYPES
from soundloom.lora.modules import base_weights
from soundloom.training.config import LoopConfig
from soundloom.training.lora.clips import ClipSampler, TrainingClip
from soundloom.training.lora.config import AdapterConfig, DataConfig, LoraConfig
from soundloom.training.lora.prompts import PromptBank
from soundloom.training.lora.start import start_adapter

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.training.lora.mlx.task import LoraTask  # noqa: E402 (needs MLX)
from soundloom.training.lora.mlx.trainer import MLXTrainer  # noqa: E402
from tests.training.lora.test_mlx_network import make_network  # noqa: E402

CAPTIONS = ("a bell", "rain")


@pytest.fixture(autouse=True)
def _on_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.fixture(scope="module")
def checkpoint(tiny_model_folder):
    return open_checkpoint(tiny_model_folder)


def make_config(steps=4, adapter_type="dora-rows", **loop):
    settings = {"final_learning_rate": 0.003, "warmup_steps": 0, "log_every": 2, "save_every": 100, **loop}
    return LoraConfig(
        LoopConfig(steps=steps, learning_rate=0.003, schedule="constant", **settings),
        adapter=AdapterConfig(type=adapter_type, rank=2, scope="core"),
        data=DataConfig(batch_size=2, crop=6),
    )


def make_task(checkpoint, config, compiles=False):
    rng, model = np.random.default_rng(1), checkpoint.config
    channels, width = model.dit.io_channels, model.model.conditioning.cond_dim
    clips = [
        TrainingClip(rng.standard_normal((channels, frames)).astype(np.float16), frames / 10.7, (caption,))
        for frames, caption in zip((9, 5, 6), (*CAPTIONS, CAPTIONS[0]), strict=True)
    ]
    rows = {text: rng.standard_normal((3, width), dtype=np.float32) for text in CAPTIONS}
    bank = PromptBank(rows, 8, np.zeros(width, np.float32))
    silence = np.zeros((channels, 1), np.float32)
    sampler = ClipSampler(clips, bank, silence, model, config.data, config.step, config.loop.seed)
    weights = base_weights(checkpoint)
    chosen = {name: weights[name] for name in config.adapter.layers(list(weights))}
    network = make_network(checkpoint)
    adapter = network.attach(start_adapter(chosen, config.adapter, config.loop.seed))
    return LoraTask(network, adapter, sampler, config, sampler.held_out(clips[:2]), compiles)


def vectors(trainer):
    return [np.array(vector) for vector in (*vars(trainer.state).values(), trainer.ema)]


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("adapter_type", TYPES)
def test_every_type_learns(checkpoint, tmp_path, adapter_type):
    config = make_config(6, adapter_type)
    trainer = MLXTrainer(make_task(checkpoint, config), tmp_path)
    assert trainer.train()
    records = log_of(tmp_path)
    assert records[0]["change"] == 0.0
    assert records[-1]["change"] > 0.0
    assert records[-1]["held-out"] < records[0]["held-out"]
    assert {"loss", "generated", "preserved", "gradient"} <= records[-1].keys()


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(checkpoint, tmp_path):
    config = make_config(5, accumulate=2)
    config = replace(config, adapter=replace(config.adapter, dropout=0.3))
    whole = MLXTrainer(make_task(checkpoint, config), tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    whole.train()
    parts = tmp_path / "parts"
    parts.mkdir()
    first = MLXTrainer(make_task(checkpoint, config), parts)
    assert not first.train(until=lambda: first.step == 3)
    second = MLXTrainer(make_task(checkpoint, config), parts)
    assert second.step == 3
    assert second.train()
    for one, other in zip(vectors(whole), vectors(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_dropout_and_accumulation_change_the_steps(checkpoint, tmp_path):
    found = []
    for number, (accumulate, dropout) in enumerate([(1, 0.0), (2, 0.0), (1, 0.5)]):
        config = make_config(3, accumulate=accumulate)
        config = replace(config, adapter=replace(config.adapter, dropout=dropout))
        (folder := tmp_path / str(number)).mkdir()
        trainer = MLXTrainer(make_task(checkpoint, config), folder)
        trainer.train()
        found.append(vectors(trainer)[0])
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_average_follows_the_tensors(checkpoint, tmp_path):
    config = make_config(6, ema=0.5)
    trainer = MLXTrainer(make_task(checkpoint, config), tmp_path)
    expected, averaged = None, []

    def watch():
        nonlocal expected
        current = np.array(trainer.state.parameters, np.float64)
        decay = min(0.5, 1 - (1 + trainer.step) ** -0.75)
        expected = current if expected is None else decay * expected + (1 - decay) * current
        averaged.append((expected, np.array(trainer.ema)))
        return False

    trainer.train(until=watch)
    for wanted, found in averaged:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_training_before_it_changes_anything(checkpoint, tmp_path):
    config = make_config(5)
    task = make_task(checkpoint, config)
    trainer = MLXTrainer(task, tmp_path)
    trainer.train(until=lambda: trainer.step == 2)
    trainer.state = replace(trainer.state, parameters=trainer.state.parameters * 1e30)
    before = vectors(trainer)
    with pytest.raises(TrainingError, match="step 2: not finite: loss"):
        trainer.train()
    for one, other in zip(before, vectors(trainer), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_state_is_an_error(checkpoint, tmp_path, damage):
    task = make_task(checkpoint, make_config(2))
    MLXTrainer(task, tmp_path).train()
    path = tmp_path / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes({"cut": content[:-8], "flipped": content, "empty": b""}[damage])
    with pytest.raises(TrainingError, match=r"state\.safetensors"):
        MLXTrainer(task, tmp_path)


def test_the_state_of_another_adapter_is_an_error(checkpoint, tmp_path):
    MLXTrainer(make_task(checkpoint, make_config(2)), tmp_path).train()
    with pytest.raises(TrainingError, match="other tensors"):
        MLXTrainer(make_task(checkpoint, make_config(2, "bora")), tmp_path)


def test_networks_hold_the_trained_tensors_when_the_state_is_saved(checkpoint, tmp_path):
    from soundloom.training.loop.logging import Callback

    task = make_task(checkpoint, make_config(2))

    class Compare(Callback):
        def on_save(self, step):
            self.step = step
            for name, layer in task.adapter.layers.items():
                np.testing.assert_array_equal(np.array(layer.layer.branch.down), np.array(trainer.tree[name]["lora_A"]))

    trainer = MLXTrainer(task, tmp_path, [compare := Compare()])
    trainer.train()
    assert compare.step == 2


@pytest.mark.slow  # on a CPU, MLX calls a C++ compiler for every function
@pytest.mark.skipif(which("c++") is None, reason="there is no C++ compiler")
def test_compiled_steps_equal_others(checkpoint, tmp_path):
    config, found = make_config(3), []
    for compiles in (False, True):
        (folder := tmp_path / str(compiles)).mkdir()
        trainer = MLXTrainer(make_task(checkpoint, config, compiles), folder)
        trainer.train()
        found.append(vectors(trainer))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
