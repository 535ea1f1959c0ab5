"""Losses and gradients of drawn batches on MLX, and what the logs show beside them.

On PyTorch: `training.lora.task`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from soundloom.training.lora.clips import Batch, ClipSampler
from soundloom.training.lora.config import LoraConfig
from soundloom.training.lora.dropout import dropout_masks
from soundloom.training.lora.metrics import (
    TIME_BINS,
    MeasuringSchedule,
    held_out_losses,
    loss_by_time,
    time_bins,
)
from soundloom.training.lora.mlx.network import BaseNetwork, TrainableAdapter, Tree
from soundloom.training.lora.mlx.objective import Arrays, PaddingMode, step_arrays, step_losses

Masks = dict[str, mx.array]
ValueAndGradients = Callable[[Tree, Arrays, Masks], tuple[tuple[mx.array, mx.array, mx.array], Tree]]


class LoraTask:
    """Flow matching of an adapter beside a frozen network; `compiles` fuses the operations of a step."""

    def __init__(
        self,
        network: BaseNetwork,
        adapter: TrainableAdapter,
        sampler: ClipSampler,
        config: LoraConfig,
        held_out: Sequence[Batch] = (),
        compiles: bool = False,
    ) -> None:
        self.network, self.adapter, self.sampler, self.config = network, adapter, sampler, config
        self.held_out, self.compiles = held_out, compiles
        self._measuring = MeasuringSchedule(config.measure_every, config.loop.steps)
        self._bins = np.zeros((2, TIME_BINS))  # sums and counts of losses since the last report
        self._functions: dict[int, ValueAndGradients] = {}  # by the number of equal rows

    def value_and_gradients(
        self, tree: Tree, step: int, micro_batch: int, rng: np.random.Generator
    ) -> tuple[dict[str, mx.array], Tree]:
        """Return the losses of a batch and the gradients of the adapter's tensors."""
        batch = self.sampler.draw(rng, step * self.config.loop.accumulate + micro_batch)
        masks: Masks = {}
        if self.config.adapter.dropout:
            inputs = {name: layer.inputs for name, layer in self.adapter.layers.items()}
            drawn = dropout_masks(rng, inputs, self.config.adapter.dropout)
            masks = {name: mx.array(mask) for name, mask in drawn.items()}
        arrays = step_arrays(batch.inputs, batch.prompts.rows)
        (loss, clips, preserved), gradients = self._function(batch.prompts.repeats)(tree, arrays, masks)
        mx.eval(loss, clips, preserved, gradients)
        np.add.at(self._bins[0], time_bins(batch.inputs.times), len(clips) * np.array(clips))
        np.add.at(self._bins[1], time_bins(batch.inputs.times), 1)
        return {"loss": loss, "generated": clips.sum(), "preserved": preserved}, gradients

    def report(self, step: int, tree: Tree) -> Mapping[str, float]:
        """Return the loss in bins of time, the size of the change, and at intervals the loss of held-out clips."""
        values = {"change": self._change(tree)}
        if (drift := self._drift(tree)) is not None:
            values["magnitude drift"] = drift
        values |= loss_by_time(*self._bins.tolist())
        self._bins[:] = 0
        if self.held_out and self._measuring.is_due(step):
            values |= self.measure(tree)
        return values

    def measure(self, tree: Tree) -> dict[str, float]:
        """Return the mean loss of the held-out clips, and that at each of their times."""
        self.adapter.set(tree)
        found = []
        for batch in self.held_out:
            arrays = step_arrays(batch.inputs, batch.prompts.rows)
            clips, _ = step_losses(self.network, arrays, batch.prompts.repeats, self._padding_mode)
            found.append(len(clips) * np.array(clips))
        by_time: list[float] = np.mean(found, axis=0).tolist()
        return held_out_losses(by_time)

    @property
    def _padding_mode(self) -> PaddingMode:
        return "zero-values" if self.config.compat else "mask"

    def _function(self, repeats: int) -> ValueAndGradients:
        """Return the function of losses and gradients for texts whose last row stands for `repeats` equal ones."""
        if repeats not in self._functions:

            def losses(tree: Tree, arrays: Arrays, masks: Masks) -> tuple[mx.array, mx.array, mx.array]:
                self.adapter.set(tree, masks)
                clips, preserved = step_losses(self.network, arrays, repeats, self._padding_mode)
                return clips.sum() + preserved, clips, preserved

            function: Any = mx.value_and_grad(losses)
            self._functions[repeats] = mx.compile(function) if self.compiles else function
        return self._functions[repeats]

    def _change(self, tree: Tree) -> float:
        """Return the size of the low-rank changes relative to the weights, as Frobenius norms."""
        found = [layer.change(tree[name]) for name, layer in self.adapter.layers.items()]
        changes, weights = np.sum([[change.item(), weight.item()] for change, weight in found], axis=0)
        return float((changes / max(weights, 1e-30)) ** 0.5)

    def _drift(self, tree: Tree) -> float | None:
        """Return the mean relative change of the magnitudes since the start; None for types without any."""
        drifts = [
            (mx.abs(tree[name][kind] - start) / mx.maximum(mx.abs(start), 1e-12)).mean().item()
            for name, kinds in self.adapter.start.items()
            for kind, start in kinds.items()
            if kind.startswith("magnitude")
        ]
        return float(np.mean(drifts)) if drifts else None
