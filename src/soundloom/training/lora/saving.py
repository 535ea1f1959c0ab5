"""Save adapters during training, with what a reader of the file needs to know about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.files.write import write_adapter
from soundloom.training.loop.logging import Callback
from soundloom.training.lora.config import LoraConfig
from soundloom.training.lora.folder import RunFolder


class AdapterInTraining(Protocol):
    """The adapter of an engine."""

    def modules_in_memory(self, others: Any = None) -> Mapping[str, ModuleAdapter]:
        """Return copies of all layers; `others` replace their tensors, in the engine's own form."""
        ...


def adapter_in_memory(
    modules: Mapping[str, ModuleAdapter], config: LoraConfig, step: int, epoch: int, about: Mapping[str, Any]
) -> Adapter:
    """Return an adapter with the metadata of its file; `about` describes base model and data."""
    recorded = {**config.adapter.recorded(), "step": step, "epoch": epoch, **about}
    if config.data.trigger:
        recorded["trigger"] = config.data.trigger
    alpha = config.adapter.alpha or float(config.adapter.rank)
    return Adapter(config.name, config.adapter.type, config.adapter.rank, alpha, modules, recorded)


class AdapterSaver(Callback):
    """Writes the adapter, and its average if there is one, whenever the state is saved; removes old ones."""

    def __init__(
        self,
        module: AdapterInTraining,
        folder: RunFolder,
        config: LoraConfig,
        epoch_batches: int,
        about: Mapping[str, Any],
        averaged: Callable[[], Any],
    ) -> None:
        self.module, self.folder, self.config = module, folder, config
        self.epoch_batches, self.about, self.averaged = epoch_batches, about, averaged

    def on_save(self, step: int) -> None:
        self._write(step, self.module.modules_in_memory())
        if self.config.loop.ema:
            self._write(step, self.module.modules_in_memory(self.averaged()), "ema")
        self.folder.prune(self.config.keep_last, self.config.keep_every)

    def _write(self, step: int, modules: Mapping[str, ModuleAdapter], kind: str = "") -> None:
        epoch = step * self.config.loop.accumulate // self.epoch_batches
        adapter = adapter_in_memory(modules, self.config, step, epoch, self.about)
        write_adapter(self.folder.adapter(step, epoch, kind), adapter)

    def latest(self) -> Path | None:
        """Return the adapter that was saved last."""
        return next(reversed(self.folder.adapters().values()), None)
