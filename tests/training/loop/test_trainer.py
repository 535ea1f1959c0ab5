"""The trainer resumes to the same bits, and stops when losses go wrong."""

import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from soundloom.errors import ConfigError, EngineError, TrainingError
from soundloom.training.loop.checkpoint import read_state
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.guards import DivergenceGuard
from soundloom.training.loop.logging import read_log
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.schedule import learning_rate
from soundloom.training.loop.task import OptimizerPhase
from soundloom.training.loop.trainer import Trainer
from tests.training.tiny_recipe import loop


class Regression:
    """Regression on noise, whose batches all differ."""

    def __init__(self, poison: int = -1) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.poison = poison

    def losses(self, step: int, stream: RngStream) -> dict[str, torch.Tensor]:
        x = stream.normal(32, 8)
        loss = (self.module(x) - x[:, :1]).square().mean()
        return {"loss": loss * float("nan") if step == self.poison else loss}


def trainer(folder: Path, **changes) -> Trainer:
    config = loop(steps=40, learning_rate=2e-2, save_every=5, log_every=5)
    return Trainer(Regression(), replace(config, **changes), folder)


def weights(trainer: Trainer) -> torch.Tensor:
    trained = [p for phase in trainer.trained.values() for p in phase]
    return torch.cat([p.detach().flatten() for p in [*trained, *trainer.ema.values()]])


@pytest.fixture
def uninterrupted(tmp_path):
    (tmp_path / "full").mkdir()
    full = trainer(tmp_path / "full")
    assert full.train()
    return full


def test_a_run_learns(uninterrupted, tmp_path):
    records = list(read_log(tmp_path / "full"))
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]


def test_a_resumed_run_ends_with_the_same_bits(uninterrupted, tmp_path):
    first = trainer(tmp_path)
    assert not first.train(until=lambda: first.step == 17)
    second = trainer(tmp_path)
    assert second.step == 17
    second.train()
    assert torch.equal(weights(second), weights(uninterrupted))


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(folder: Path, moment: str) -> None:
    """Train until the second save, and die in the middle of it."""
    this = trainer(folder)
    this.train(until=lambda: this.step == 9)
    replace_file, save = Path.replace, torch.save

    def write_half(state, file):
        buffer = io.BytesIO()
        save(state, buffer)
        file.write(buffer.getvalue()[: buffer.tell() // 2])
        file.flush()
        die()

    patches = {
        "half written": (torch, "save", write_half),
        "not yet flushed": (os, "fsync", die),
        "about to replace": (Path, "replace", die),
        "replaced": (Path, "replace", lambda *paths: (replace_file(*paths), die())),
    }
    setattr(*patches[moment])
    this.train()


def die_at_each(folder: Path) -> None:
    """Fork for each moment, before PyTorch has threads, so that it is imported once."""
    for moment in STEPS_AFTER_DEATH:
        (folder / moment).mkdir()
        if not (pid := os.fork()):
            train_and_die(folder / moment, moment)
        status = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, moment


STEPS_AFTER_DEATH = {"half written": 9, "not yet flushed": 9, "about to replace": 9, "replaced": 10}


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_run_killed_while_saving_resumes_to_the_same_bits(uninterrupted, tmp_path):
    code = f"from tests.training.loop.test_trainer import *; die_at_each(Path({str(tmp_path)!r}))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    for moment, step in STEPS_AFTER_DEATH.items():
        resumed = trainer(tmp_path / moment)
        assert resumed.step == step, moment
        assert not list((tmp_path / moment).glob(".soundloom-*"))
        resumed.train()
        assert torch.equal(weights(resumed), weights(uninterrupted)), moment


def test_the_log_keeps_one_record_of_a_repeated_step(uninterrupted, tmp_path):
    first = trainer(tmp_path, seed=1)
    first.train(until=lambda: first.step == 12)
    (tmp_path / "state.pt").unlink()
    trainer(tmp_path, seed=1).train()
    assert [record["step"] for record in read_log(tmp_path)] == [5, 10, 15, 20, 25, 30, 35, 40]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    task = Regression(poison=13)
    with pytest.raises(TrainingError, match=r"step 13: not finite: loss.*\n.*resume"):
        Trainer(task, loop(steps=40, save_every=5), tmp_path).train()
    assert trainer(tmp_path).step == 10


def test_a_loss_that_stays_high_stops_the_run_and_keeps_the_earlier_state(tmp_path):
    class Exploding(Regression):
        def losses(self, step, stream):
            return {"loss": super().losses(step, stream)["loss"] * (1 if step < 73 else 100)}

    with pytest.raises(TrainingError, match=r"step 82: the loss was far above its usual .* for 10 steps"):
        Trainer(Exploding(), loop(steps=400, save_every=5, divergence_patience=10), tmp_path).train()
    assert trainer(tmp_path).step == 70


class Diverging(Regression):
    """A loss that grows tenfold with every step from `start` on."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start

    def losses(self, step, stream):
        return {"loss": super().losses(step, stream)["loss"] * 10.0 ** min(20, max(0, step - self.start))}


@pytest.mark.parametrize("start", [6, 20, 90])
def test_a_loss_that_explodes_stops_the_run_soon(tmp_path, start):
    """The running median exists from step 50 on, and the patience is 100 steps."""
    with pytest.raises(TrainingError, match="training stopped at step"):
        Trainer(Diverging(start), loop(steps=400, save_every=1), tmp_path).train()
    assert read_state(tmp_path / "state.pt")["step"] <= start + 5


def test_a_run_whose_loss_explodes_at_its_end_is_not_finished(tmp_path):
    with pytest.raises(TrainingError, match="training stopped at step 25"):
        Trainer(Diverging(20), loop(steps=25, save_every=100), tmp_path).train()
    assert not (tmp_path / "state.pt").exists()


def test_losses_that_start_near_zero_may_grow():
    guard = DivergenceGuard(factor=4.0, patience=100)
    for step in range(40):
        guard.watch(step * 0.02, step, Path("state"))
    assert not guard.has_diverged


def test_single_high_losses_do_not_stop_a_run(tmp_path):
    class Spiking(Regression):
        def losses(self, step, stream):
            return {"loss": super().losses(step, stream)["loss"] * (100 if step % 10 else 1)}

    assert Trainer(Spiking(), loop(steps=100, divergence_patience=10), tmp_path).train()


def test_losses_around_zero_may_change_sign():
    guard = DivergenceGuard(factor=4.0, patience=3)
    for step in range(200):
        guard.watch((-1) ** step * 0.1, step, Path("state"))
    for step in range(2):
        guard.watch(2.0, step, Path("state"))
    with pytest.raises(TrainingError):
        guard.watch(2.0, 202, Path("state"))


def test_a_step_of_two_batches_minimizes_their_mean(tmp_path):
    """The accumulated gradients are those of the mean loss of both batches."""
    together = Trainer(Regression(), loop(steps=1, accumulate=2, clip_norm=1e9), tmp_path)
    module = Regression().module
    batches = [RngStream(0, 0, part).normal(32, 8) for part in range(2)]
    expected = sum((module(x) - x[:, :1]).square().mean() for x in batches) / 2
    expected.backward()
    together.train()
    for parameter, alone in zip(together.trained[""], module.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, alone.grad)
    assert next(read_log(tmp_path))["loss"] == pytest.approx(expected.item(), abs=1e-5)


def test_frozen_weights_do_not_change(tmp_path):
    frozen = Trainer(Regression(), loop(frozen=("0.",)), tmp_path)
    frozen.train()
    start = Regression().module.state_dict()
    state = frozen.result()
    assert torch.equal(state["0.weight"], start["0.weight"])
    assert not torch.equal(state["2.weight"], start["2.weight"])


def test_a_resumed_run_uses_new_optimizer_settings(tmp_path):
    trainer(tmp_path, steps=2).train()
    resumed = Trainer(Regression(), loop(steps=4, weight_decay=0.3, betas=(0.5, 0.6)), tmp_path)
    assert [group["weight_decay"] for group in resumed.optimizer.param_groups] == [0.3, 0.3, 0.0]
    assert {tuple(group["betas"]) for group in resumed.optimizer.param_groups} == {(0.5, 0.6)}


def test_muon_without_blocks_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"loop\.muon_lr_scale is for matrices of transformer blocks"):
        Trainer(Regression(), loop(muon_lr_scale=2.0), tmp_path)


def test_the_optimizer_cannot_change_during_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("soundloom.training.loop.optimizer.transformer_blocks", lambda module: iter([module[0]]))
    trainer(tmp_path, steps=1).train()
    with pytest.raises(TrainingError, match="uses another optimizer than the recipe"):
        Trainer(Regression(), loop(muon_lr_scale=2.0), tmp_path)


def test_a_run_stopped_while_its_loss_is_high_keeps_the_earlier_state(tmp_path):
    started = trainer(tmp_path, steps=100, save_every=60)
    for guard in started._guards.values():
        guard.watch = lambda loss, step, state, guard=guard: setattr(guard, "high", int(step > 70))
    started.train(until=lambda: started.step == 80)
    assert read_state(started.state_path)["step"] == 60


def test_auxiliary_modules_cannot_be_sharded(tmp_path):
    distributed = Distributed()
    distributed.config = replace(distributed.config, shard=True)
    with pytest.raises(EngineError, match="auxiliary modules cannot be sharded"):
        Trainer(Duel(), loop(), tmp_path, distributed)


def test_a_state_of_another_model_is_rejected(tmp_path):
    trainer(tmp_path, steps=1).train()
    other = Regression()
    other.module = nn.Linear(8, 1)
    with pytest.raises(TrainingError, match="belongs to another model"):
        Trainer(other, loop(), tmp_path)


def test_processes_that_cannot_divide_a_step_evenly_are_an_error(tmp_path):
    distributed = Distributed()
    distributed.world_size = 2
    with pytest.raises(ConfigError, match=r"2 processes cannot divide .* loop.accumulate is 3"):
        Trainer(Regression(), loop(accumulate=3), tmp_path, distributed)


def test_the_learning_rate_warms_up_then_decays():
    config = loop(steps=100, learning_rate=1.0, final_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == max(rates) == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_each_cycle_starts_at_half_the_learning_rate():
    config = loop(steps=100, cycles=2, learning_rate=1.0, final_learning_rate=0.1, warmup_steps=10)
    first = loop(steps=50, learning_rate=1.0, final_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[:50] == [learning_rate(step, first) for step in range(50)]
    assert rates[60] == max(rates[50:]) == 0.5
    assert rates[100] == pytest.approx(0.1)


def test_cycles_must_divide_the_steps():
    with pytest.raises(ConfigError, match=r"loop\.cycles must divide loop.steps, found 3 and 100"):
        loop(steps=100, cycles=3)


def test_random_numbers_depend_on_seed_and_step_alone():
    assert torch.equal(RngStream(1, 2).normal(3, 4), RngStream(1, 2).normal(3, 4))
    assert not torch.equal(RngStream(1, 2).normal(3, 4), RngStream(1, 3).normal(3, 4))
    assert not torch.equal(RngStream(1, 2).normal(3, 4), RngStream(2, 2).normal(3, 4))


class Duel:
    """A follower that approaches a leader, which is trained on noise every third step."""

    def __init__(self) -> None:
        self.module: nn.Module = nn.Linear(4, 1, bias=False)
        self.auxiliary: nn.Module = nn.Linear(4, 1)
        nn.init.zeros_(self.module.weight)
        for parameter in self.auxiliary.parameters():
            nn.init.ones_(parameter)
        self.phases = (
            OptimizerPhase("follower", (self.module,)),
            OptimizerPhase("leader", (self.auxiliary,), lr_scale=0.5, betas=(0.0, 0.99)),
        )

    def phase(self, step: int) -> OptimizerPhase:
        return self.phases[step % 3 == 2]

    def losses(self, step: int, stream: RngStream) -> dict[str, torch.Tensor]:
        noise = stream.normal(4)
        distance = (self.module.weight - self.auxiliary.weight).square().mean()
        if self.phase(step).name == "leader":
            return {"loss": (self.auxiliary(noise) + self.auxiliary.weight).square().mean() + distance}
        return {"loss": distance, "distance": distance}


def duel(folder: Path, steps: int = 20) -> Trainer:
    config = loop(steps=steps, learning_rate=0.1, final_learning_rate=0.1, warmup_steps=0, save_every=100, log_every=3)
    return Trainer(Duel(), replace(config, weight_decay=0.1), folder)


def test_a_step_trains_the_modules_of_its_phase_alone(tmp_path):
    trainer = duel(tmp_path)
    follower, leader = trainer.task.module.weight, trainer.task.auxiliary.weight

    def train_to(step: int) -> tuple[torch.Tensor, ...]:
        trainer.train(until=lambda: trainer.step == step)
        return tuple(value.detach().clone() for value in (follower, leader, trainer.ema["weight"]))

    start, second, third = train_to(0), train_to(2), train_to(3)
    torch.testing.assert_close(second[0], torch.full((1, 4), 0.2), atol=0.02, rtol=0)  # Adam moves by the learning rate
    assert torch.equal(second[1], start[1])
    assert torch.equal(third[0], second[0])
    assert torch.equal(third[2], second[2])  # nor does the EMA change in a phase of another module
    torch.testing.assert_close((third[1] - second[1]).abs(), torch.full((1, 4), 0.05), atol=0.01, rtol=0)


def test_alternation_resumes_to_the_same_bits(tmp_path):
    for name in ("full", "parts"):
        (tmp_path / name).mkdir()
    full = duel(tmp_path / "full")
    full.train()
    for stop in (8, 9, 20):
        part = duel(tmp_path / "parts")
        part.train(until=lambda part=part, stop=stop: part.step == stop)
    assert torch.equal(weights(part), weights(full))


def test_the_log_separates_the_losses_of_each_phase(tmp_path):
    duel(tmp_path, steps=3).train()
    (record,) = read_log(tmp_path)
    assert set(record) == {"step", "loss", "gradient", "distance", "leader loss", "leader gradient"}
