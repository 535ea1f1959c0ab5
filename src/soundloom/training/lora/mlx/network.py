"""The frozen networks that an adapter is trained on: the transformer and the conditioner of a model.

On PyTorch: `training.lora.network`.
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx
from mlx import nn

from soundloom.engines.mlx.blocks import Padding
from soundloom.engines.mlx.paths import find
from soundloom.engines.mlx.stable_audio.conditioner import Conditioner
from soundloom.engines.mlx.stable_audio.dit import DiT
from soundloom.lora.adapter import ModuleAdapter
from soundloom.lora.modules import CONDITIONER, TRANSFORMER
from soundloom.training.lora.mlx.layers import TrainableLayer

Tree = dict[str, dict[str, mx.array]]  # the tensors of an adapter by layer and kind


class BaseNetwork:
    """The transformer and the conditioner; their layers hold the adapters that act."""

    def __init__(self, dit: DiT, conditioner: Conditioner) -> None:
        self.dit, self.conditioner = dit, conditioner
        self.adapter = TrainableAdapter({})

    def layer(self, name: str) -> nn.Module:
        """Return a layer by its name in adapter files."""
        network, prefix = (self.dit, TRANSFORMER) if name.startswith(TRANSFORMER) else (self.conditioner, CONDITIONER)
        found: nn.Module = find(network, name.removeprefix(prefix).split("."))
        return found

    def attach(self, adapters: Mapping[str, ModuleAdapter]) -> TrainableAdapter:
        """Return adapters as functions of their tensors, for this network."""
        self.adapter = TrainableAdapter(
            {name: TrainableLayer(adapter, self.layer(name)) for name, adapter in adapters.items()}
        )
        return self.adapter

    def velocity(
        self,
        x: mx.array,
        times: mx.array,
        prompt: mx.array,
        seconds: mx.array,
        dropped: mx.array,
        local: mx.array,
        padding: Padding | None = None,
        repeats: int = 1,
    ) -> mx.array:
        """Return the velocity (b, c, t) of x (b, c, t) at times (b,).

        `prompt` (b, s, d) are the rows of the texts, the last of which stands for `repeats` equal ones. The `dropped`
        (b,) clips see neither text nor duration in cross-attention.
        """
        duration = self.conditioner.seconds_total(seconds)
        context = mx.concatenate([prompt.astype(duration.dtype), duration], axis=1)
        context = mx.where(dropped[:, None, None], 0.0, context)
        return self.dit(x, times, self.dit.condition(context, duration[:, 0], local, repeats), padding)


class TrainableAdapter:
    """The adapters of some layers, by their names in adapter files."""

    def __init__(self, layers: dict[str, TrainableLayer]) -> None:
        self.layers = layers

    @property
    def start(self) -> Tree:
        """The tensors that training starts from."""
        return {name: layer.start for name, layer in self.layers.items()}

    def set(self, tree: Tree) -> None:
        """Let the network compute with these tensors from now on."""
        for name, layer in self.layers.items():
            layer.layer.branch = layer.branch(tree[name])

    def modules_in_memory(self, tree: Tree) -> dict[str, ModuleAdapter]:
        """Return copies of all layers with these tensors."""
        return {name: layer.adapter(tree[name]) for name, layer in self.layers.items()}
