"""The frozen networks that an adapter is trained on: the transformer and the conditioner of a model.

On PyTorch: `training.lora.network`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx import nn

from soundloom.engines.mlx.blocks import Padding
from soundloom.engines.mlx.paths import find
from soundloom.engines.mlx.stable_audio.conditioner import Conditioner
from soundloom.engines.mlx.stable_audio.dit import DiT, TransformerBlock
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

    def recompute_blocks(self) -> None:
        """Compute what blocks need for gradients again instead of keeping it: less memory, and a third more time."""
        blocks: list[Any] = self.dit.transformer.layers
        for number, block in enumerate(blocks):
            prefix = f"{TRANSFORMER}transformer.layers.{number}."
            names = [name for name in self.adapter.layers if name.startswith(prefix) and not _is_outside(name)]
            blocks[number] = RecomputedBlock(block, self.adapter, names)

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
        self.tree = self.start  # what the network computes with
        self.masks: Mapping[str, mx.array] = {}

    @property
    def start(self) -> Tree:
        """The tensors that training starts from."""
        return {name: layer.start for name, layer in self.layers.items()}

    def set(self, tree: Tree, masks: Mapping[str, mx.array] | None = None) -> None:
        """Let the network compute with these tensors from now on; `masks` (in,) of layers are those of dropout."""
        self.tree, self.masks = tree, masks or {}
        self.set_some(tree)

    def set_some(self, tree: Tree) -> None:
        """Let some layers compute with these tensors."""
        for name, parameters in tree.items():
            layer = self.layers[name]
            layer.layer.branch = layer.branch(parameters, self.masks.get(name))

    def modules_in_memory(self, tree: Tree) -> dict[str, ModuleAdapter]:
        """Return copies of all layers with these tensors."""
        return {name: layer.adapter(tree[name]) for name, layer in self.layers.items()}


def _is_outside(name: str) -> bool:
    """Whether a layer of a block is computed once for the batch, before the blocks."""
    return name.endswith(".to_kv") or ".to_local_embed." in name


class RecomputedBlock(nn.Module):
    """Gradient checkpointing of a transformer block: what it computes is computed again for its gradients."""

    def __init__(self, block: TransformerBlock, adapter: TrainableAdapter, names: Sequence[str]) -> None:
        """`names` are those of the block's layers that its call uses."""
        super().__init__()
        self.cross_attn, self.to_local_embed, self.block = block.cross_attn, block.to_local_embed, block
        self._adapter, self._names = adapter, tuple(names)

    def __call__(
        self,
        h: mx.array,
        modulation: mx.array,
        cross_kv: tuple[mx.array, ...],
        bias: mx.array | None,
        local_embed: mx.array | None,
        *constants: Any,
    ) -> mx.array:
        def run(tree: Tree, h: mx.array, modulation: mx.array, kv: tuple[mx.array, ...], local: mx.array) -> mx.array:
            self._adapter.set_some(tree)
            found: mx.array = self.block(h, modulation, kv, bias, None if local_embed is None else local, *constants)
            return found

        tree = {name: self._adapter.tree[name] for name in self._names}
        local = mx.zeros(()) if local_embed is None else local_embed
        found: mx.array = mx.checkpoint(run)(tree, h, modulation, cross_kv, local)
        return found
