"""Several processes train the same weights as one, sharded or not."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import EngineError
from soundloom.training.config import AdversarialConfig, AlignmentConfig, DiscriminatorConfig
from soundloom.training.data.batches import TrainingBatch
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init.generator import Generator
from soundloom.training.loop.distributed import DistributedConfig, init_distributed
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.trainer import Trainer
from soundloom.training.stages.autoencoder import AutoencoderTask
from soundloom.training.stages.dit import DiTTask
from tests.training.tiny_recipe import AUTOENCODER, FLOW, LOOP, SOUNDS, TEXT, model_config


class Noise:
    """Clips of noise, which need no file."""

    def sample(self, size: int, stream: RngStream) -> TrainingBatch:
        model = model_config()
        frames = torch.arange(12)
        return TrainingBatch(
            ids=torch.from_numpy(stream.rng.integers(4, TEXT.vocab_size, (size, 16))),
            mask=torch.ones(size, 16, dtype=torch.bool),
            seconds=torch.full((size,), 1.0),
            data=stream.normal(size, model.dit.io_channels, len(frames)),
            inpaint_mask=(stream.uniform(size, 1) < 0.5).float().expand(size, len(frames)) * (frames < 4),
            valid=(frames < 9).expand(size, -1),
        )


def trainer(folder: Path, accumulate: int = 2, **distributed) -> Trainer:
    torch.manual_seed(0)
    task = DiTTask(Generator(model_config(), TEXT), Noise(), FLOW)
    here = init_distributed(DistributedConfig(device="cpu", threads=1, **distributed))
    return Trainer(task, replace(LOOP, accumulate=accumulate), folder, here)


def train(folder: Path, last: int = LOOP.steps, **distributed) -> dict[str, torch.Tensor]:
    """Train in this process up to a step; also write the result to a file, for the process that started it."""
    this = trainer(folder, **distributed)
    this.train(until=lambda: this.step == last)
    result = this.result()
    if this.distributed.is_main:
        torch.save(result, folder / "result.pt")
    this.distributed.close()
    return result


def train_in_two(folder: Path, torchrun: bool = False, **arguments) -> dict[str, torch.Tensor]:
    start_two(folder, f"train(Path({str(folder)!r}), **{arguments!r})", torchrun)
    return torch.load(folder / "result.pt", weights_only=True)


def start_two(folder: Path, call: str, torchrun: bool = False) -> None:
    """Call a function of this file in two processes, whose variables are those of torchrun, which starts slowly."""
    pytest.importorskip("accelerate")
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    # Threads of Gloo may abort while the interpreter exits on a busy machine, after all that is tested here.
    script.write_text(f"import os; from tests.training.loop.test_distributed import *; {call}; os._exit(0)")
    tests = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": tests, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    if torchrun:
        flags = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run([sys.executable, *flags, script], env=environment, stderr=subprocess.PIPE, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:].decode()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, script], env=environment | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE
        )
        for rank in "01"
    ]
    try:
        for process in processes:
            error = process.communicate(timeout=240)[1]
            assert process.returncode == 0, error[-3000:].decode()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def save_buffers(folder: Path) -> None:
    """Train an autoencoder with all modules that have running statistics, and save this process's buffers."""
    here = init_distributed(DistributedConfig(device="cpu", threads=1))
    torch.manual_seed(0)
    member = DiscriminatorConfig("convolution", 64, filters=4)
    config = replace(
        AUTOENCODER,
        loop=replace(LOOP, accumulate=2),
        std_momentum=0.5,
        adversarial=AdversarialConfig(0.1, discriminators=(member,)),
        alignment=AlignmentConfig(0.1, width=64, depth=1),
    )
    this = Trainer(
        AutoencoderTask(SAME(model_config().same), SyntheticSounds(SOUNDS), config), config.loop, folder, here
    )
    this.train()
    state = {**this.task.module.state_dict(), **this.auxiliary.state_dict()}
    torch.save({name: state[name] for name in RUNNING_STATISTICS}, folder / f"buffers{here.rank}.pt")
    here.close()


RUNNING_STATISTICS = ("bottleneck.running_std", "discriminators.recent_loss", "alignment.deviation")


def test_running_statistics_are_the_same_in_all_processes(tmp_path):
    start_two(tmp_path, f"save_buffers(Path({str(tmp_path)!r}))")
    first, second = (torch.load(tmp_path / f"buffers{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in RUNNING_STATISTICS:
        assert first[name] == second[name] != 1, name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"))


@pytest.mark.slow
def test_two_processes_train_like_one(alone, tmp_path):
    assert_same(train_in_two(tmp_path, torchrun=True), alone, tolerance=1e-5)  # sums depend on the number of threads


@pytest.mark.slow
def test_a_run_may_change_between_sharded_processes_and_a_single_one(alone, tmp_path):
    train(tmp_path, last=1)
    train_in_two(tmp_path, last=3, shard=True)
    assert_same(train(tmp_path), alone, tolerance=1e-5)


def test_sharding_over_one_process_is_an_error():
    with pytest.raises(EngineError, match="there is one"):
        init_distributed(DistributedConfig(device="cpu", shard=True))


def assert_same(a, b, tolerance):
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], atol=tolerance, rtol=0, msg=lambda text, name=name: name + text)
