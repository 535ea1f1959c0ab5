"""Time the steps of adapter training by type, in one process, alternating.

    python benchmarks/lora_training.py [--types lora,dora-rows] [--precision bf16] [--crop 256] [--published FOLDER]

The model has the sizes of small-music-base and random weights. A step draws its batch, runs forward and backward, and
steps the optimizer. With --published, a folder with the stable-audio-3 package, its transformer is trained by its own
parametrizations with the same weights, sizes and optimizer; it needs that package's dependencies.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.config.catalogue import published_config
from soundloom.config.stable_audio.model import ModelConfig, parse_model_config
from soundloom.engines.torch.load import _block_layers
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import DiT
from soundloom.lora.modules import module_shapes
from soundloom.training.config import LoopConfig
from soundloom.training.loop.optimizer import build_optimizer, set_learning_rates
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import OptimizerPhase
from soundloom.training.lora.clips import ClipSampler, TrainingClip
from soundloom.training.lora.config import AdapterConfig, DataConfig, LoraConfig
from soundloom.training.lora.network import BaseNetwork
from soundloom.training.lora.prompts import PromptBank
from soundloom.training.lora.start import start_adapter
from soundloom.training.lora.task import LoraTask

TOKENS = 20  # of the prompt
LOOP = LoopConfig(steps=1000, learning_rate=1e-4, final_learning_rate=1e-4, schedule="constant", warmup_steps=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small-music-base")
    parser.add_argument("--types", default="lora,dora-rows")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--published", type=Path)
    args = parser.parse_args()
    model = parse_model_config(published_config(args.model))
    assert isinstance(model, ModelConfig)
    network = random_network(model, args.precision)
    steps: dict[str, Callable[[int], None]] = {}
    for name in args.types.split(","):
        steps[name] = step_of(network, model, name, args.rank, args.crop)
    if args.published:
        steps["published dora-rows"] = published_step(network, model, args)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.rounds + 1):  # the first is a warm-up
        for name, step in steps.items():
            started = time.perf_counter()
            step(turn)
            times[name].append(time.perf_counter() - started)
    first = median(times[next(iter(times))][1:])
    for name, found in times.items():
        middle = median(found[1:])
        print(f"{name:22} {middle:.3f} s per step, {middle / first:.2f} times {next(iter(times))}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    return 0


def random_network(model: ModelConfig, precision: str) -> BaseNetwork:
    torch.manual_seed(0)
    dit, conditioner = DiT(model.dit), Conditioner(model.model.conditioning)
    if precision == "bf16":
        tensors = {name: from_array(name, np.zeros(0, np.float32)) for name in dit.state_dict()}
        for layer in set(_block_layers(dit, tensors).values()):
            layer.to(torch.bfloat16)
    return BaseNetwork(dit, conditioner)


def step_of(network: BaseNetwork, model: ModelConfig, kind: str, rank: int, crop: int) -> Callable[[int], None]:
    """Return a function that takes one optimizer step with an adapter of a type."""
    config = LoraConfig(LOOP, adapter=AdapterConfig(type=kind, rank=rank), data=DataConfig(crop=crop))
    names = config.adapter.layers(list(module_shapes(model)))
    weights = {name: from_array(name, network.layer(name).weight.detach().float().numpy()) for name in names}
    module = network.attach(start_adapter(weights, config.adapter, seed=0))
    branches = {name: network.layer(name).branch for name in names}
    sampler = ClipSampler(clips(model, crop), bank(model), silence(model), model, config.data, config.step, seed=0)
    task = LoraTask(network, module, sampler, config)
    phases = (OptimizerPhase("", (module,)),)
    optimizer = build_optimizer(phases, LOOP)

    def step(number: int) -> None:
        for name, branch in branches.items():
            network.layer(name).branch = branch
        optimizer.zero_grad(set_to_none=True)
        task.losses(number, RngStream(0, number))["loss"].backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        set_learning_rates(optimizer, phases, LOOP, number)
        optimizer.step()
        module.zero_grad(set_to_none=True)

    return step


def clips(model: ModelConfig, crop: int) -> list[TrainingClip]:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((model.same.latent_dim, crop + 100)).astype(np.float16)
    return [TrainingClip(latents, (crop + 100) / 10.77, ("a prompt",))]


def bank(model: ModelConfig) -> PromptBank:
    prompt, width = model.model.conditioning.prompt, model.model.conditioning.cond_dim
    rows = np.random.default_rng(1).standard_normal((TOKENS, width)).astype(np.float32)
    return PromptBank({"a prompt": rows}, prompt.max_length, np.zeros(width, np.float32))


def silence(model: ModelConfig) -> np.ndarray:
    return np.zeros((model.same.latent_dim, 4), np.float32)


def published_step(network: BaseNetwork, model: ModelConfig, args: Any) -> Callable[[int], None]:
    """Return the published package's step: its transformer and parametrizations, in the precision of its script."""
    sys.path.insert(0, str(args.published))
    raise NotImplementedError


if __name__ == "__main__":
    sys.exit(main())
