"""Run adapter training on MLX: build the networks, train, and save the adapter.

On PyTorch: `training.lora.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import mlx.core as mx
from mlx import nn

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.engines.mlx.components import PRECISIONS
from soundloom.engines.mlx.load import load_module
from soundloom.engines.mlx.stable_audio.conditioner import Conditioner
from soundloom.engines.mlx.stable_audio.dit import DiT
from soundloom.engines.mlx.stable_audio.engine import MLXEngine
from soundloom.engines.stable_audio import Component, find_component
from soundloom.lora.adapter import ModuleAdapter
from soundloom.training.loop.logging import Callback
from soundloom.training.lora.mlx.network import BaseNetwork, Tree
from soundloom.training.lora.mlx.task import LoraTask
from soundloom.training.lora.mlx.trainer import MLXTrainer
from soundloom.training.lora.plan import RunPlan
from soundloom.training.lora.previews import (
    PreviewRequest,
    Previews,
    base_previews,
    counterpart,
    counterpart_previews,
)
from soundloom.training.lora.saving import AdapterSaver


@dataclass(frozen=True)
class MLXRun:
    """A run of adapter training on a device, "cpu" or "gpu". `precision` is that of the frozen transformer.

    `recompute` is gradient checkpointing; `compile` fuses the operations of a step, for each length of clips. `until`
    stops training after a step, `save_now` saves after one.
    """

    plan: RunPlan
    device: str
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: bool = False
    compile: bool = False
    callbacks: Sequence[Callback] = ()
    until: Callable[[], bool] = lambda: False
    save_now: Callable[[], bool] = lambda: False

    def train(self) -> bool:
        """Train to the last step, or until stopped; return whether training finished. Raises TrainingError."""
        with mx.stream(mx.cpu if self.device == "cpu" else mx.gpu):
            return self._train()

    def _train(self) -> bool:
        plan = self.plan
        prepared = plan.prepare_set()
        record = plan.record(prepared, "mlx")
        plan.folder.require_same(record)
        plan.folder.save_record(record)
        network = load_network(plan.checkpoint, self.precision)
        adapter = network.attach(plan.start_modules())
        if self.recompute:
            network.recompute_blocks()
        sampler = plan.sampler(prepared)
        task = LoraTask(network, adapter, sampler, plan.config, sampler.held_out(prepared.held_out), self.compile)
        trainer = MLXTrainer(task, plan.folder.folder)
        saver = AdapterSaver(
            _TrainedAdapter(trainer),
            plan.folder,
            plan.config,
            sampler.epoch_batches,
            plan.about(prepared),
            averaged=lambda: trainer.averaged,
        )
        previews = self._previews(network, plan.preview_request(prepared), saver)
        trainer.callbacks = [*trainer.callbacks, *self.callbacks, saver, previews]
        return trainer.train(self.until, lambda step: self.save_now() or previews.due(step))

    def _previews(self, network: BaseNetwork, request: PreviewRequest, saver: AdapterSaver) -> Previews:
        checkpoint = self.plan.checkpoint
        make_engine = partial(TrainingEngine, checkpoint, self.device, network)
        sources = {checkpoint.name: base_previews(checkpoint, make_engine, request)}
        if other := counterpart(checkpoint):
            sources[other] = counterpart_previews(other, "mlx", self.device, request)
        return Previews(sources, self.plan.folder.previews, self.plan.config.previews.every, saver.latest)


class _TrainedAdapter:
    """The adapter of a trainer, as `AdapterSaver` reads it."""

    def __init__(self, trainer: MLXTrainer) -> None:
        self.trainer = trainer

    def modules_in_memory(self, others: Tree | None = None) -> Mapping[str, ModuleAdapter]:
        return self.trainer.task.adapter.modules_in_memory(others or self.trainer.tree)


class TrainingEngine(MLXEngine):
    """An engine whose transformer and conditioner are those in training."""

    def __init__(self, checkpoint: Checkpoint, device: str, network: BaseNetwork) -> None:
        super().__init__(checkpoint, device, "fp32")
        self.network = network

    def _build(self, component: Component) -> nn.Module:
        trained = {"dit": self.network.dit, "conditioner": self.network.conditioner}
        return trained[component] if component in trained else super()._build(component)


def load_network(checkpoint: Checkpoint, precision: Literal["fp32", "bf16"] = "fp32") -> BaseNetwork:
    """Load the frozen transformer in `precision`, and the conditioner in FP32."""
    dit, conditioner = find_component(checkpoint, "dit"), find_component(checkpoint, "conditioner")
    return BaseNetwork(
        load_module(lambda: DiT(dit.config), dit.tensors, dit.label, PRECISIONS[precision]),
        load_module(lambda: Conditioner(conditioner.config), conditioner.tensors, conditioner.label),
    )
