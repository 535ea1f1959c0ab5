"""The training loop on MLX: see `training.loop.base`; the steps are those of `training.loop.trainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np

from soundloom.diffusion.noise import keyed_generator
from soundloom.errors import TrainingError
from soundloom.temporary import remove_stale
from soundloom.training.loop.base import TrainingLoop
from soundloom.training.loop.guards import require_finite
from soundloom.training.loop.logging import Callback, JsonlLogger
from soundloom.training.lora.mlx.network import Tree
from soundloom.training.lora.mlx.optimizer import AdamState, FlatLayout, adamw, clipped, step_scalars
from soundloom.training.lora.mlx.state import STATE_FILE, SavedState, read_state, save_state
from soundloom.training.lora.mlx.task import LoraTask


class MLXTrainer(TrainingLoop):
    """Train an adapter from the state in a folder, or from its start, on MLX's default device.

    Raises TrainingError when the state cannot be read or belongs to another adapter.
    """

    def __init__(self, task: LoraTask, folder: Path, callbacks: Sequence[Callback] = ()) -> None:
        config = task.config.loop
        super().__init__(config, folder / STATE_FILE, (JsonlLogger(folder), *callbacks))
        self.task = task
        self.layout = FlatLayout(task.adapter.start)
        self.state = AdamState.start(self.layout.join(task.adapter.start))
        self.ema = self.state.parameters
        remove_stale(folder)
        if self.state_path.exists():
            self._restore(read_state(self.state_path))
        task.adapter.set(self.tree)  # for previews

    @property
    def tree(self) -> Tree:
        """The tensors of the adapter."""
        return self.layout.split(self.state.parameters)

    @property
    def averaged(self) -> Tree:
        """The moving averages of the tensors."""
        return self.layout.split(self.ema)

    def save(self) -> None:
        vectors = (self.state.parameters, self.state.first, self.state.second, self.ema)
        save_state(self.state_path, SavedState(self.step, self.layout.text, *map(np.array, vectors)))
        self.task.adapter.set(self.tree)  # a step leaves the network with tensors from before its update
        for callback in self.callbacks:
            callback.on_save(self.step)

    def _advance(self) -> dict[str, float]:
        values, gradient = self._accumulate_gradients()
        gradient, norm = clipped(gradient, self.config.clip_norm)
        values["gradient"] = float(np.array(norm))
        require_finite(values, self.step, self.state_path)
        self._guards[""].watch(values["loss"], self.step, self.state_path)
        scalars = step_scalars(self.step, self.config)
        self.state = adamw(self.state, gradient, scalars, self.layout.matrices, self.config)
        self.step += 1
        self.ema = self.ema + (1 - self.ema_decay()) * (self.state.parameters - self.ema)
        mx.eval(self.state.parameters, self.state.first, self.state.second, self.ema)
        return values

    def _accumulate_gradients(self) -> tuple[dict[str, float], mx.array]:
        """Return the mean losses of the micro-batches, and the mean of their gradients as one vector."""
        count, tree = self.config.accumulate, self.tree
        values: dict[str, float] = {}
        total = mx.zeros_like(self.state.parameters)
        for micro_batch in range(count):
            rng = keyed_generator(self.config.seed, self.step, micro_batch)
            losses, gradients = self.task.value_and_gradients(tree, self.step, micro_batch, rng)
            total = total + self.layout.join(gradients) / count
            mx.eval(total)
            values = {name: values.get(name, 0.0) + float(np.array(loss)) / count for name, loss in losses.items()}
        return values, total

    def _report(self) -> Mapping[str, float]:
        return self.task.report(self.step, self.tree)

    def _restore(self, saved: SavedState) -> None:
        if saved.layout != self.layout.text:
            raise TrainingError(
                f"{self.state_path} trains other tensors than this adapter has", "choose another --out folder"
            )
        self.step = saved.step
        self.state = AdamState(*(mx.array(vector) for vector in (saved.parameters, saved.first, saved.second)))
        self.ema = mx.array(saved.ema)
