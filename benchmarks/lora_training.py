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
from unittest.mock import MagicMock

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

# Of the published package.
STUBBED = (
    *("wandb", "torchaudio", "torchaudio.transforms", "matplotlib", "matplotlib.cm", "matplotlib.colors"),
    *("matplotlib.figure", "matplotlib.ticker", "matplotlib.backends", "matplotlib.backends.backend_agg"),
    *("PIL", "pytorch_lightning.loggers"),
)
CORE = ["self_attn.to_", "cross_attn.to_", "ff.ff."]
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
        steps["published dora-rows"] = published_step(model, published_config(args.model), args)
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


def published_step(model: ModelConfig, config: dict[str, Any], args: Any) -> Callable[[int], None]:
    """Return the published package's step: its training wrapper with dora-rows, in the precisions of its script.

    Packages for logging and audio files, which a step does not need, are replaced by stubs.
    """
    sys.path.insert(0, str(args.published))
    for name in STUBBED:
        sys.modules.setdefault(name, MagicMock())
    sys.modules["pytorch_lightning"] = MagicMock(LightningModule=nn.Module)
    from stable_audio_3.models.diffusion import ConditionedDiffusionModelWrapper, DiTWrapper
    from stable_audio_3.training.diffusion import DiffusionCondTrainingWrapper

    diffusion = dict(config["model"]["diffusion"])
    ids = {name: diffusion[name] for name in ("cross_attention_cond_ids", "global_cond_ids", "local_add_cond_ids")}
    wrapped = ConditionedDiffusionModelWrapper(
        DiTWrapper(diffusion_objective=diffusion["diffusion_objective"], **diffusion["config"]),
        EncodedPrompt(model),
        cross_attn_cond_ids=ids.pop("cross_attention_cond_ids"),
        **ids,
        io_channels=model.model.io_channels,
        sample_rate=model.sample_rate,
        min_input_length=1,
        diffusion_objective=diffusion["diffusion_objective"],
        distribution_shift_options=diffusion["distribution_shift_options"],
        mask_padding_attention=False,
        use_effective_length_for_schedule=True,
    )
    half = args.precision == "bf16"
    wrapper = DiffusionCondTrainingWrapper(
        wrapped,
        lr=1e-4,
        mask_loss_weight=1.0,
        use_ema=False,
        pre_encoded=True,
        timestep_sampler="trunc_logit_normal",
        inpainting_config={"mask_kwargs": {"mask_type_probabilities": [0.1, 0.8, 0.1]}},
        sample_rate=model.sample_rate,
        lora_config={"rank": args.rank, "adapter_type": "dora-rows", "include": CORE},
        ot_coupling=True,
        base_precision="bf16" if half else None,
    )
    wrapper.device, wrapper.trainer, wrapper._staggered_logger = torch.device("cpu"), MagicMock(), MagicMock()
    parameters = [p for p in wrapper.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.01)
    latents = torch.randn(1, model.model.io_channels, args.crop)

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = wrapper.training_step((latents, [{"seconds_total": 33}]), number)
        loss.backward()
        optimizer.step()

    return step


class EncodedPrompt(nn.Module):
    """Stands for the conditioner of the published package: random rows of a prompt and of a duration."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        prompt, width = model.model.conditioning.prompt, model.model.conditioning.cond_dim
        self.register_buffer("prompt", torch.randn(1, prompt.max_length, width))
        self.register_buffer("duration", torch.randn(1, 1, width))

    def forward(self, metadata: Any, device: Any) -> dict[str, Any]:
        ones = [torch.ones(1, rows.shape[1]) for rows in (self.prompt, self.duration)]
        return {"prompt": (self.prompt, ones[0]), "seconds_total": (self.duration, ones[1])}


if __name__ == "__main__":
    sys.exit(main())
