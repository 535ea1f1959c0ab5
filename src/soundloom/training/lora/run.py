"""Run adapter training on PyTorch: prepare the data, build the networks, train, and save the adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.engines.stable_audio import Component, find_component
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import DiT
from soundloom.engines.torch.stable_audio.engine import TorchEngine
from soundloom.errors import TrainingError
from soundloom.training.loop.blocks import compile_blocks, recompute_blocks
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.logging import Callback
from soundloom.training.loop.tensorboard import TensorBoard, write_clips
from soundloom.training.loop.trainer import Trainer
from soundloom.training.lora.network import BaseNetwork
from soundloom.training.lora.plan import RunPlan
from soundloom.training.lora.previews import Previews, base_previews, counterpart, counterpart_previews
from soundloom.training.lora.saving import AdapterSaver
from soundloom.training.lora.setup import TrainingSet, generative_config
from soundloom.training.lora.task import LoraTask


@dataclass(frozen=True)
class LoraRun:
    """A run of adapter training. `precision` is that of the linear layers in the frozen blocks.

    `until` stops training after a step, `save_now` saves after one.
    """

    plan: RunPlan
    distributed: Distributed
    precision: Literal["fp32", "bf16"] = "fp32"
    callbacks: Sequence[Callback] = ()
    until: Callable[[], bool] = lambda: False
    save_now: Callable[[], bool] = lambda: False

    def train(self) -> bool:
        """Train to the last step, or until stopped; return whether training finished. Raises TrainingError."""
        plan = self.plan
        prepared = self._prepare_set()
        record = plan.record(prepared, "torch")
        plan.folder.require_same(record)
        if self.distributed.is_main:
            plan.folder.save_record(record)
        torch.manual_seed(plan.config.loop.seed)
        network = load_network(plan.checkpoint, self.distributed, self.precision)
        task = self._task(network, prepared)
        saver = AdapterSaver(
            task.module,
            plan.folder,
            plan.config,
            task.sampler.epoch_batches,
            plan.about(prepared),
            averaged=lambda: trainer.ema,
        )
        previews = self._previews(network, prepared, saver)
        tensorboard = TensorBoard(plan.folder.tensorboard, generative_config(plan.checkpoint).sample_rate, None, 1)
        callbacks = [*self.callbacks, tensorboard, saver, previews]
        trainer = Trainer(task, plan.config.loop, plan.folder.folder, self.distributed, callbacks)
        return trainer.train(self.until, lambda step: self.save_now() or previews.due(step))

    def _prepare_set(self) -> TrainingSet:
        """Fill the caches on the main process, then load them on all."""
        prepared = self.plan.prepare_set() if self.distributed.is_main else None
        self.distributed.any_rank(False)  # the others wait
        return prepared or self.plan.prepare_set()

    def _task(self, network: BaseNetwork, prepared: TrainingSet) -> LoraTask:
        module = network.attach(self.plan.start_modules())
        sampler = self.plan.sampler(prepared)
        return LoraTask(network, module, sampler, self.plan.config, sampler.held_out(prepared.held_out))

    def _previews(self, network: BaseNetwork, prepared: TrainingSet, saver: AdapterSaver) -> Previews:
        request, device = self.plan.preview_request(prepared), str(self.distributed.device)
        make_engine = partial(TrainingEngine, self.plan.checkpoint, device, network)
        sources = {self.plan.checkpoint.name: base_previews(self.plan.checkpoint, make_engine, request)}
        if other := counterpart(self.plan.checkpoint):
            sources[other] = counterpart_previews(other, "torch", device, request)
        show = partial(write_clips, self.plan.folder.tensorboard)
        return Previews(sources, self.plan.folder.previews, self.plan.config.previews.every, saver.latest, show)


class TrainingEngine(TorchEngine):
    """An engine whose transformer and conditioner are those in training."""

    def __init__(self, checkpoint: Checkpoint, device: str, network: BaseNetwork) -> None:
        super().__init__(checkpoint, device, "fp32")
        self.network, self.graphs = network, None

    def _build(self, component: Component) -> nn.Module:
        trained = {"dit": self.network.dit, "conditioner": self.network.conditioner}
        return trained[component] if component in trained else super()._build(component)


def load_network(
    checkpoint: Checkpoint, distributed: Distributed, precision: Literal["fp32", "bf16"] = "fp32"
) -> BaseNetwork:
    """Load the frozen transformer and conditioner; the linear layers in blocks in `precision`, the rest in FP32.

    Raises TrainingError for packed weights.
    """
    device = distributed.device
    dit, conditioner = find_component(checkpoint, "dit"), find_component(checkpoint, "conditioner")
    if any(isinstance(tensor, PackedTensor) for tensor in dit.tensors.values()):
        raise TrainingError(
            f"the weights of {checkpoint.name} are packed, which PyTorch cannot train adapters on",
            "train on the original model, and use the adapter with both; --engine mlx trains on packed weights",
        )
    blocks = torch.bfloat16 if precision == "bf16" else None
    network = load_module(lambda: DiT(dit.config), dit.tensors, dit.label, device, blocks=blocks)
    if distributed.config.recompute:
        recompute_blocks(network)
    if distributed.config.compile:
        compile_blocks(network)
    build = lambda: Conditioner(conditioner.config)  # noqa: E731
    return BaseNetwork(network, load_module(build, conditioner.tensors, conditioner.label, device))
