"""The training loop: what it resumes, when it stops."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training.tiny_recipe import loop

from soundloom.errors import TrainingError
from soundloom.training.loop import Draws, Run, learning_rate, read_journal


class Regression:
    """Noise-fed linear regression, which no two steps train alike."""

    def __init__(self, poison: int = -1) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.poison = poison

    def losses(self, step: int, draws: Draws) -> dict[str, torch.Tensor]:
        x = draws.normal(32, 8)
        loss = (self.module(x) - x[:, :1]).square().mean()
        return {"loss": loss * float("nan") if step == self.poison else loss}


def run(folder: Path, **changes) -> Run:
    config = loop(steps=40, learning_rate=2e-2, save_every=5, log_every=5)
    return Run(Regression(), replace(config, **changes), folder)


def weights(run: Run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in [*run.trained.values(), *run.average.values()]])


@pytest.fixture
def uninterrupted(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole")
    assert whole.train()
    return whole


def test_a_run_learns(uninterrupted, tmp_path):
    records = list(read_journal(tmp_path / "whole"))
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]


def test_a_resumed_run_ends_with_the_same_bits(uninterrupted, tmp_path):
    first = run(tmp_path)
    assert not first.train(until=lambda: first.step == 17)
    second = run(tmp_path)
    assert second.step == 17
    second.train()
    assert torch.equal(weights(second), weights(uninterrupted))


def test_a_killed_run_resumes_to_the_same_bits(uninterrupted, tmp_path):
    """A child trains and saves after every step; it is killed somewhere in the middle, perhaps while saving."""
    code = "from training.test_loop import run; from pathlib import Path; run(Path({!r}), save_every=1).train()"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    slowly = code.format(str(tmp_path)).replace(".train()", ".train(lambda: __import__('time').sleep(0.02))")
    child = subprocess.Popen([sys.executable, "-c", slowly], env=environment)
    state = tmp_path / "state.pt"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    resumed = run(tmp_path)
    assert 0 < resumed.step < 40
    resumed.train()
    assert torch.equal(weights(resumed), weights(uninterrupted))


def test_the_journal_counts_repeated_steps_once(uninterrupted, tmp_path):
    first = run(tmp_path, seed=1)
    first.train(until=lambda: first.step == 12)
    (tmp_path / "state.pt").unlink()
    run(tmp_path, seed=1).train()
    assert [record["step"] for record in read_journal(tmp_path)] == [5, 10, 15, 20, 25, 30, 35, 40]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    stage = Regression(poison=13)
    with pytest.raises(TrainingError, match=r"step 13: not finite: loss.*\n.*resume"):
        Run(stage, loop(steps=40, save_every=5), tmp_path).train()
    assert run(tmp_path).step == 10


def test_the_rate_rises_then_falls_to_its_last_value():
    config = loop(steps=100, learning_rate=1.0, final_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == max(rates) == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_draws_depend_on_seed_and_step_alone():
    assert torch.equal(Draws(1, 2).normal(3, 4), Draws(1, 2).normal(3, 4))
    assert not torch.equal(Draws(1, 2).normal(3, 4), Draws(1, 3).normal(3, 4))
    assert not torch.equal(Draws(1, 2).normal(3, 4), Draws(2, 2).normal(3, 4))
