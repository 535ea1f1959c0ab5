"""Runs of adapter training on MLX: the same folders, adapters and resuming as on PyTorch, which is not needed."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.errors import TrainingError
from soundloom.lora.files.read import read_adapter
from soundloom.pipeline.load import load
from soundloom.testing.stable_audio import make_random
from soundloom.training.loop.logging import read_log
from soundloom.training.lora.config import AdapterConfig, PreviewConfig
from tests.training.lora.runs import CONFIG, make_run, stop_after, with_loop, write_sounds

SCRIPT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from soundloom.cli.main import main

code = main(sys.argv[1:])
assert not {"torch", "transformers"} & set(sys.modules)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("short"), (0.3, 0.5, 0.4))


def train(*arguments, **options):
    return make_run(*arguments, engine="mlx", **options).train()


def final_adapter(out):
    return next(out.glob("style-step=6-*.safetensors"))


def test_a_run_writes_an_adapter_that_both_engines_use(base, sounds, tmp_path):
    held_out = write_sounds(tmp_path / "held", (0.4,), seed=9)
    config = replace(with_loop(ema=0.9), previews=PreviewConfig(every=3, seconds=0.5, steps=2, prompts=("a tone",)))
    assert train(base, tmp_path / "out", sounds, config, held_out)
    adapter = read_adapter(final_adapter(tmp_path / "out"))
    assert (adapter.type, adapter.rank, adapter.config["step"], adapter.config["dataset"]["clips"]) == (
        "dora-rows",
        2,
        6,
        3,
    )
    assert read_adapter(next((tmp_path / "out").glob("style-ema-step=6-*"))).sha256 != adapter.sha256
    records = list(read_log(tmp_path / "out"))
    assert [record["step"] for record in records] == [0, 2, 4, 6]
    assert {"held-out", "change", "magnitude drift", "gradient"} <= set(records[-1])
    previews = sorted((tmp_path / "out/previews/base").iterdir())
    assert [path.name for path in previews] == [f"demo_{i}_{step:08d}.wav" for i in (0, 1) for step in (0, 3, 6)]
    assert previews[0].read_bytes() != previews[2].read_bytes()
    for engine in ("mlx", "torch"):
        model = load(base, engine=engine, device="cpu", keep_loaded=True)
        plain = model.generate("a tone", seconds=0.5, seed=1, steps=2)
        changed = model.generate("a tone", seconds=0.5, seed=1, steps=2, loras=[str(adapter.path)])
        assert not np.array_equal(changed.audio, plain.audio)


def test_the_adapter_equals_the_one_that_pytorch_trains(base, sounds, tmp_path):
    config = with_loop(epsilon=1e-3)
    found = []
    for engine in ("torch", "mlx"):
        make_run(base, tmp_path / engine, sounds, config, engine=engine).train()
        found.append(read_adapter(final_adapter(tmp_path / engine)))
    of_torch, of_mlx = found
    data = {"dataset": {**of_mlx.config["dataset"], "sha256": of_torch.config["dataset"]["sha256"]}}
    assert {**of_mlx.config, **data} == of_torch.config  # latents differ by rounding
    for name, module in of_torch.modules.items():
        for kind in module.tensors:
            expected = module.array(kind)
            error = np.abs(of_mlx.modules[name].array(kind) - expected).max()
            assert error <= 2e-3 * np.abs(expected).max(), (name, kind)


@pytest.mark.parametrize("adapter_type", [pytest.param("dora-rows", marks=pytest.mark.slow), "bora-xs"])
def test_a_resumed_run_equals_an_uninterrupted_one(base, sounds, tmp_path, adapter_type):
    config = replace(CONFIG, adapter=AdapterConfig(type=adapter_type, rank=2, dropout=0.2, include=("self_attn",)))
    config = replace(with_loop(config, save_every=1), keep_last=2, keep_every=3)
    train(base, tmp_path / "whole", sounds, config)
    callback, until = stop_after(4)
    assert not train(base, tmp_path / "parts", sounds, config, callbacks=[callback], until=until)
    assert train(base, tmp_path / "parts", sounds, config)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert final_adapter(parts).read_bytes() == final_adapter(whole).read_bytes()
    assert (parts / "state.safetensors").read_bytes() == (whole / "state.safetensors").read_bytes()
    steps = sorted(int(path.name.split("=")[1].split("-")[0]) for path in whole.glob("style-step=*"))
    assert steps == [3, 5, 6]


@pytest.mark.slow
def test_previews_and_recomputed_blocks_do_not_change_training(base, sounds, tmp_path):
    train(base, tmp_path / "plain", sounds)
    config = replace(CONFIG, previews=PreviewConfig(every=2, seconds=0.5, steps=2))
    train(base, tmp_path / "previews", sounds, config)
    assert final_adapter(tmp_path / "previews").read_bytes() == final_adapter(tmp_path / "plain").read_bytes()
    train(base, tmp_path / "recomputed", sounds, config, recompute=True)
    one, other = (read_adapter(final_adapter(tmp_path / name)) for name in ("plain", "recomputed"))
    for name, module in one.modules.items():
        for kind in module.tensors:
            np.testing.assert_allclose(other.modules[name].array(kind), module.array(kind), rtol=2e-2, atol=2e-3)


def test_a_run_is_not_continued_on_another_engine(base, sounds, tmp_path):
    callback, until = stop_after(2)
    train(base, tmp_path, sounds, callbacks=[callback], until=until)
    with pytest.raises(TrainingError, match="another engine: mlx, not torch"):
        make_run(base, tmp_path, sounds, engine="torch").train()


def test_training_continues_from_an_adapter(base, sounds, tmp_path):
    train(base, tmp_path / "first", sounds)
    start = read_adapter(final_adapter(tmp_path / "first"))
    train(base, tmp_path / "second", sounds, with_loop(steps=0, log_every=1), start=start)
    assert read_adapter(next((tmp_path / "second").glob("*step=0*"))).sha256 == start.sha256


def test_half_precision_trains(base, sounds, tmp_path):
    held_out = write_sounds(tmp_path / "held", (0.4,), seed=9)
    train(base, tmp_path / "out", sounds, held_out=held_out, precision="bf16")
    first, *_, last = read_log(tmp_path / "out")
    assert last["held-out"] < first["held-out"]


def test_packed_weights_are_trained_on(sounds, tmp_path):
    packed = make_random("small-music-base", tmp_path / "model", layout="int4", size="tiny")
    held_out = write_sounds(tmp_path / "held", (0.4,), seed=9)
    train(packed, tmp_path / "out", sounds, held_out=held_out)
    first, *_, last = read_log(tmp_path / "out")
    assert last["held-out"] < first["held-out"]
    with pytest.raises(TrainingError, match="are packed"):
        make_run(packed, tmp_path / "torch", sounds, engine="torch").train()


@pytest.mark.slow
def test_the_command_trains_without_pytorch_and_without_a_compiler(base, sounds, tmp_path):
    flags = ["--steps", "2", "--rank", "2", "--preview-every", "0", "--engine", "mlx"]
    command = ["lora", "train", str(sounds), "--model", str(base), "--out", str(tmp_path / "out"), *flags]
    environment = {**os.environ, "PATH": "", "TMPDIR": str(tmp_path)}  # MLX caches kernels in the temporary folder
    for extra in (["--dry-run"], []):
        line = [sys.executable, "-c", SCRIPT, *command, *extra]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("lora-step=2-epoch=0.safetensors")
