"""Runs of adapter training: what they write, and that they resume bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundloom.errors import RequestError, TrainingError
from soundloom.lora.files.read import read_adapter
from soundloom.pipeline.load import load
from soundloom.training.loop.logging import Callback, read_log
from soundloom.training.lora import previews
from soundloom.training.lora.config import AdapterConfig, DataConfig, PreviewConfig
from tests.training.lora.runs import CONFIG, make_run, stop_after, with_loop, write_sounds


def final_adapter(out) -> bytes:
    (path,) = out.glob("style-step=6-*.safetensors")
    return path.read_bytes()


def test_a_run_writes_an_adapter_that_the_model_uses(base, sounds, tmp_path):
    assert make_run(base, tmp_path, sounds).train()
    adapter = read_adapter(next(tmp_path.glob("style-step=6-epoch=0.safetensors")))
    assert (adapter.type, adapter.rank, adapter.config["step"], adapter.config["base_model"]) == (
        "dora-rows",
        2,
        6,
        "base",
    )
    assert adapter.config["dataset"]["clips"] == 3
    assert str(sounds) not in json.dumps(adapter.config)
    model = load(base)
    plain = model.generate("a tone", seconds=1, seed=1, steps=2)
    model.add_lora(adapter.path)
    assert not np.array_equal(model.generate("a tone", seconds=1, seed=1, steps=2).audio, plain.audio)


@pytest.mark.parametrize("adapter_type", [pytest.param("dora-rows", marks=pytest.mark.slow), "lora-xs", "bora"])
def test_a_resumed_run_equals_an_uninterrupted_one(base, sounds, tmp_path, adapter_type):
    config = replace(CONFIG, adapter=AdapterConfig(type=adapter_type, rank=2, dropout=0.2, include=("self_attn",)))
    config = with_loop(config, accumulate=2)
    make_run(base, tmp_path / "whole", sounds, config).train()
    callback, until = stop_after(3)
    assert not make_run(base, tmp_path / "parts", sounds, config, callbacks=[callback], until=until).train()
    assert make_run(base, tmp_path / "parts", sounds, config).train()
    assert final_adapter(tmp_path / "parts") == final_adapter(tmp_path / "whole")
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts")]
    for kind in ("module", "ema"):
        assert all(torch.equal(value, states[1][kind][name]) for name, value in states[0][kind].items())


def test_an_interrupted_run_saves_its_adapter(base, sounds, tmp_path):
    callback, until = stop_after(3)
    make_run(base, tmp_path, sounds, callbacks=[callback], until=until).train()
    assert [path.name for path in tmp_path.glob("*.safetensors") if "step=3" in path.name]


def test_saving_can_be_requested(base, sounds, tmp_path):
    wanted = iter([False, False, True, False, False, False])
    make_run(base, tmp_path, sounds, with_loop(save_every=100), save_now=lambda: next(wanted)).train()
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "style-step=3-epoch=0.safetensors",
        "style-step=6-epoch=0.safetensors",
    ]


def test_old_adapters_are_removed(base, sounds, tmp_path):
    config = replace(with_loop(save_every=1, ema=0.9), keep_last=2, keep_every=3)
    make_run(base, tmp_path, sounds, config).train()
    for kind in ("style", "style-ema"):
        steps = sorted(int(path.name.split("=")[1].split("-")[0]) for path in tmp_path.glob(f"{kind}-step=*"))
        assert steps == [3, 5, 6]


def test_the_average_differs_from_the_last_weights(base, sounds, tmp_path):
    make_run(base, tmp_path, sounds, with_loop(ema=0.9)).train()
    last, average = (read_adapter(next(tmp_path.glob(f"{name}-step=6-*"))) for name in ("style", "style-ema"))
    assert last.sha256 != average.sha256


@pytest.mark.parametrize("change", ["data", "adapter", "base"])
def test_a_run_is_not_continued_with_something_else(base, sounds, tmp_path, change):
    callback, until = stop_after(2)
    make_run(base, tmp_path / "out", sounds, callbacks=[callback], until=until).train()
    model, data, config = base, sounds, CONFIG
    if change == "data":
        data = write_sounds(tmp_path / "others", seed=1)
    elif change == "adapter":
        config = replace(CONFIG, adapter=AdapterConfig(rank=3))
    else:
        from soundloom.testing.stable_audio import make_random

        model = make_random("small-music-base", tmp_path / "base", size="tiny", seed=3)
    with pytest.raises(TrainingError, match=f"started with another {change}"):
        make_run(model, tmp_path / "out", data, config).train()


def test_held_out_clips_are_measured_before_and_during_training(base, sounds, tmp_path):
    held_out = write_sounds(tmp_path / "held", (1.0, 0.8), seed=9)
    make_run(base, tmp_path / "out", sounds, held_out=held_out).train()
    records = list(read_log(tmp_path / "out"))
    assert [record["step"] for record in records if "held-out" in record] == [0, 2, 4, 6]
    assert {"held-out at t/0.1", "change", "magnitude drift", "gradient"} <= set(records[-1])
    assert any(name.startswith("loss at t/") for name in records[-1])


def test_held_out_clips_may_not_be_trained_on(base, sounds, tmp_path):
    with pytest.raises(TrainingError, match="also in the training set"):
        make_run(base, tmp_path, sounds, held_out=sounds).train()
    config = replace(CONFIG, data=DataConfig(held_out_clips=2))
    with pytest.raises(RequestError, match="2 of 3 clips cannot be held out"):
        make_run(base, tmp_path, sounds, config).train()


def test_clips_can_be_set_apart(base, sounds, tmp_path):
    make_run(base, tmp_path, sounds, replace(CONFIG, data=DataConfig(held_out_clips=1))).train()
    assert read_adapter(next(tmp_path.glob("*step=6*"))).config["dataset"]["clips"] == 2
    assert "held-out" in next(read_log(tmp_path))


def test_previews_are_written_from_the_start_to_the_end(base, sounds, tmp_path):
    config = replace(CONFIG, previews=PreviewConfig(every=4, seconds=0.5, steps=2, prompts=("a tone",)))
    make_run(base, tmp_path, sounds, config).train()
    names = sorted(path.name for path in (tmp_path / "previews/base").iterdir())
    assert names == sorted(f"demo_{i}_{step:08d}.wav" for i in (0, 1) for step in (0, 4, 6))
    first, last = (tmp_path / f"previews/base/demo_0_{step:08d}.wav" for step in (0, 6))
    assert first.read_bytes() != last.read_bytes()


def test_a_preview_that_fails_does_not_end_training(base, sounds, tmp_path, monkeypatch, caplog):
    def fail(self, model):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(previews.PreviewRequest, "generate", fail)
    assert make_run(base, tmp_path, sounds, replace(CONFIG, previews=PreviewConfig(every=3))).train()
    assert "the preview of base at step 3 failed, training goes on: out of memory" in caplog.text


def test_previews_do_not_change_training(base, sounds, tmp_path):
    make_run(base, tmp_path / "without", sounds).train()
    config = replace(CONFIG, previews=PreviewConfig(every=2, seconds=0.5, steps=2))
    make_run(base, tmp_path / "with", sounds, config).train()
    assert final_adapter(tmp_path / "with") == final_adapter(tmp_path / "without")


def test_training_continues_from_an_adapter(base, sounds, tmp_path):
    make_run(base, tmp_path / "first", sounds).train()
    start = read_adapter(next((tmp_path / "first").glob("*step=6*")))
    make_run(base, tmp_path / "second", sounds, with_loop(steps=0, log_every=1), start=start).train()
    again = read_adapter(next((tmp_path / "second").glob("*step=0*")))
    assert again.sha256 == start.sha256
    with pytest.raises(TrainingError, match="rank 2, and dora-rows of rank 4"):
        make_run(base, tmp_path / "third", sounds, replace(CONFIG, adapter=AdapterConfig(rank=4)), start=start).train()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "mlx"])
def test_a_killed_run_resumes_bit_for_bit(base, sounds, tmp_path, engine):
    pytest.importorskip(engine)

    def command(out):
        flags = ["--steps", "40", "--save-every", "5", "--log-every", "5", "--batch", "2", "--rank", "2"]
        return [
            *(sys.executable, "-m", "soundloom", "lora", "train", str(sounds), "--model", str(base), "--out", str(out)),
            *(*flags, "--preview-every", "0", "--name", "style", "--lr", "1e-2", "--keep-last", "9", "--quiet"),
            *("--engine", engine, "--device", "cpu"),
        ]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    killed = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "killed").glob("style-step=15-*")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list((tmp_path / "killed").glob("style-step=40-*"))
    for path in (tmp_path / "killed").glob("style-step=*"):
        read_adapter(path)
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    for step in (20, 40):
        whole, killed_one = (next((tmp_path / name).glob(f"style-step={step}-*")) for name in ("whole", "killed"))
        assert whole.read_bytes() == killed_one.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_a_signal_saves_at_once(base, sounds, tmp_path):
    from soundloom.cli.terminal.training_progress import SaveSignal

    class Send(Callback):
        def on_step_end(self, step):
            if step == 3:
                os.kill(os.getpid(), signal.SIGUSR1)

    save = SaveSignal()
    config = with_loop(save_every=100)
    make_run(base, tmp_path, sounds, config, callbacks=[save, Send()], save_now=save.take).train()
    assert list(tmp_path.glob("style-step=3-*"))


@pytest.mark.slow
def test_two_processes_train_the_same_adapter_as_one(base, sounds, tmp_path):
    flags = ["--steps", "4", "--batch", "2", "--accumulate", "2", "--preview-every", "0", "--lr", "1e-2", "--rank", "2"]
    common = ["-m", "soundloom", "lora", "train", str(sounds), "--model", str(base), "--device", "cpu", *flags]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"]
    subprocess.run([sys.executable, *common, "--out", str(tmp_path / "one")], check=True, capture_output=True)
    done = subprocess.run([*torchrun, *common, "--out", str(tmp_path / "two")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (read_adapter(next((tmp_path / name).glob("lora-step=4-*"))) for name in ("one", "two"))
    for name, module in one.modules.items():
        for kind in module.tensors:
            np.testing.assert_allclose(two.modules[name].array(kind), module.array(kind), rtol=2e-2, atol=2e-3)
