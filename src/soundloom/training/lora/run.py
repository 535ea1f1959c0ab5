"""Run adapter training on PyTorch: prepare the data, build the networks, train, and save the adapter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.parse import to_dict
from soundloom.datasets.examples import Dataset
from soundloom.engines.stable_audio import find_component
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import DiT
from soundloom.errors import TrainingError
from soundloom.lora.adapter import Adapter
from soundloom.lora.bases import read_bases, with_bases
from soundloom.lora.guardrails import base_signature, fit
from soundloom.lora.modules import base_weights
from soundloom.training.loop.blocks import compile_blocks, recompute_blocks
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.logging import Callback
from soundloom.training.loop.tensorboard import TensorBoard
from soundloom.training.loop.trainer import Trainer
from soundloom.training.lora.checks import DataReport
from soundloom.training.lora.clips import ClipSampler, triggered
from soundloom.training.lora.config import LoraConfig
from soundloom.training.lora.folder import RunFolder
from soundloom.training.lora.network import BaseNetwork
from soundloom.training.lora.previews import (
    PreviewRequest,
    Previews,
    base_previews,
    counterpart,
    counterpart_previews,
)
from soundloom.training.lora.saving import AdapterSaver
from soundloom.training.lora.setup import Encoder, TrainingSet, generative_config, prepare_set
from soundloom.training.lora.start import start_adapter
from soundloom.training.lora.task import LoraTask

log = logging.getLogger(__name__)

Checked = tuple[Dataset, DataReport]


@dataclass(frozen=True)
class LoraRun:
    """A run of adapter training. `precision` is that of the linear layers in the frozen blocks.

    `start` is an adapter to train on, `bases` a file of singular vectors for -xs types. `until` stops training after a
    step, `save_now` saves after one.
    """

    checkpoint: Checkpoint
    config: LoraConfig
    folder: RunFolder
    distributed: Distributed
    encoder: Encoder
    data: Checked
    held_out: Checked | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    start: Adapter | None = None
    bases: Path | None = None
    callbacks: Sequence[Callback] = ()
    until: Callable[[], bool] = lambda: False
    save_now: Callable[[], bool] = lambda: False

    def train(self) -> bool:
        """Train to the last step, or until stopped; return whether training finished. Raises TrainingError."""
        prepared = self._prepare_set()
        record = self._record(prepared)
        self.folder.require_same(record)
        if self.distributed.is_main:
            self.folder.save_record(record)
        torch.manual_seed(self.config.loop.seed)
        network = load_network(self.checkpoint, self.distributed, self.precision)
        task = self._task(network, prepared)
        saver = AdapterSaver(
            task.module,
            self.folder,
            self.config,
            task.sampler.epoch_batches,
            self._about(record, prepared),
            averaged=lambda: trainer.ema,
        )
        previews = self._previews(network, prepared, saver)
        tensorboard = TensorBoard(self.folder.tensorboard, generative_config(self.checkpoint).sample_rate, None, 1)
        callbacks = [*self.callbacks, tensorboard, saver, previews]
        trainer = Trainer(task, self.config.loop, self.folder.folder, self.distributed, callbacks)
        return trainer.train(self.until, lambda step: self.save_now() or previews.due(step))

    def _prepare_set(self) -> TrainingSet:
        """Fill the caches on the main process, then load them on all."""
        arguments = (self.checkpoint, self.data, self.held_out, self.folder, self.encoder, self.config)
        prepared = prepare_set(*arguments) if self.distributed.is_main else None
        self.distributed.any_rank(False)  # the others wait
        return prepared or prepare_set(*arguments)

    def _record(self, prepared: TrainingSet) -> dict[str, Any]:
        adapter = to_dict(self.config.adapter)
        adapter["start"] = self.start.sha256 if self.start else None
        return {
            "base": {"model": self.checkpoint.name, "fingerprint": self.checkpoint.fingerprint},
            "data": {"clips": len(prepared.clips), "seconds": round(prepared.seconds, 3), "sha256": prepared.digest},
            "adapter": adapter,
            "seed": self.config.loop.seed,
            "settings": to_dict(self.config),
        }

    def _about(self, record: Mapping[str, Any], prepared: TrainingSet) -> dict[str, Any]:
        """Return what the adapter's file says of its base model and its data: counts and hashes, never paths."""
        return {
            "base_model": self.checkpoint.name,
            "base_signature": base_signature(base_weights(self.checkpoint)),
            "dataset": record["data"],
            "seconds": prepared.seconds / max(1, len(prepared.clips)),
        }

    def _task(self, network: BaseNetwork, prepared: TrainingSet) -> LoraTask:
        config, model = self.config, generative_config(self.checkpoint)
        weights = base_weights(self.checkpoint)
        chosen = {name: weights[name] for name in config.adapter.layers(list(weights))}
        if self.start is None:
            bases = read_bases(self.bases) if self.bases else None
            modules = start_adapter(chosen, config.adapter, config.loop.seed, bases)
        else:
            start = with_bases(self.start, weights, self.bases, training_weights=weights)
            modules = dict(require_fitting(start, config, chosen, self.checkpoint.name).modules)
        module = network.attach(modules)
        sampler = ClipSampler(
            prepared.clips, prepared.bank, prepared.silence, model, config.data, config.step, config.loop.seed
        )
        return LoraTask(network, module, sampler, config, sampler.held_out(prepared.held_out))

    def _previews(self, network: BaseNetwork, prepared: TrainingSet, saver: AdapterSaver) -> Previews:
        wanted, device = self.config.previews, str(self.distributed.device)
        trigger = self.config.data.trigger
        captions = dict.fromkeys(triggered(clip.captions[0], trigger) for clip in prepared.clips)
        request = PreviewRequest(wanted.prompts or list(captions), wanted)
        sources = {self.checkpoint.name: base_previews(self.checkpoint, network, device, request)}
        if other := counterpart(self.checkpoint):
            sources[other] = counterpart_previews(other, device, request)
        every = wanted.every
        return Previews(sources, self.folder.previews, self.folder.tensorboard, every, saver.latest)


def load_network(
    checkpoint: Checkpoint, distributed: Distributed, precision: Literal["fp32", "bf16"] = "fp32"
) -> BaseNetwork:
    """Load the frozen transformer and conditioner; the linear layers in blocks in `precision`, the rest in FP32."""
    device = distributed.device
    dit, conditioner = find_component(checkpoint, "dit"), find_component(checkpoint, "conditioner")
    blocks = torch.bfloat16 if precision == "bf16" else None
    network = load_module(lambda: DiT(dit.config), dit.tensors, dit.label, device, blocks=blocks)
    if distributed.config.recompute:
        recompute_blocks(network)
    if distributed.config.compile:
        compile_blocks(network)
    build = lambda: Conditioner(conditioner.config)  # noqa: E731
    return BaseNetwork(network, load_module(build, conditioner.tensors, conditioner.label, device))


def require_fitting(start: Adapter, config: LoraConfig, weights: Mapping[str, Any], model: str) -> Adapter:
    """Return an adapter to train on, its layers those that are trained. Raises TrainingError or MismatchError."""
    wanted = config.adapter
    if (start.type, start.rank) != (wanted.type, wanted.rank):
        raise TrainingError(
            f"{start.name} is a {start.type} adapter of rank {start.rank}, and {wanted.type} of rank {wanted.rank} is "
            "to be trained",
            "leave out --type and --rank, or change it first with soundloom lora resize or convert",
        )
    fitted = fit(start, weights, model)
    missing = [name for name in weights if name not in fitted.modules]
    if missing:
        raise TrainingError(
            f"{start.name} lacks {len(missing)} of the layers to train, the first {missing[0]}",
            "choose the --scope, --include and --exclude that it was trained with",
        )
    return fitted
