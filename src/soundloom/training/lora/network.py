"""The frozen networks that an adapter is trained on: the transformer and the conditioner of a model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from soundloom.engines.torch.blocks import Padding
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import DiT
from soundloom.lora.adapter import ModuleAdapter
from soundloom.lora.modules import CONDITIONER, TRANSFORMER
from soundloom.training.lora.layers import TrainableAdapter, TrainableLayer


class BaseNetwork:
    """The transformer and the conditioner without gradients; their layers hold the adapters that act."""

    def __init__(self, dit: DiT, conditioner: Conditioner) -> None:
        self.dit, self.conditioner = dit, conditioner
        for module in (dit, conditioner):
            module.requires_grad_(False)

    def layer(self, name: str) -> nn.Module:
        """Return a layer by its name in adapter files."""
        if name.startswith(TRANSFORMER):
            return self.dit.get_submodule(name.removeprefix(TRANSFORMER))
        return self.conditioner.get_submodule(name.removeprefix(CONDITIONER))

    def attach(self, adapters: Mapping[str, ModuleAdapter]) -> TrainableAdapter:
        """Return trainable copies of adapters, which act in this network from now on."""
        layers = {}
        for name, adapter in adapters.items():
            layer = self.layer(name)
            weight = layer.weight
            assert isinstance(weight, Tensor)
            layers[name] = TrainableLayer(adapter, weight.flatten(1))
            layer.branch = layers[name]
        return TrainableAdapter(layers)

    def velocity(
        self,
        x: Tensor,
        times: Tensor,
        prompt: Tensor,
        seconds: Tensor,
        dropped: Tensor,
        local: Tensor,
        padding: Padding | None = None,
        repeats: int = 1,
    ) -> Tensor:
        """Return the velocity (b, c, t) of x (b, c, t) at times (b,).

        `prompt` (b, s, d) are the rows of the texts, the last of which stands for `repeats` equal ones. The `dropped`
        (b,) clips see neither text nor duration in cross-attention.
        """
        duration = self.conditioner.seconds_total(seconds)
        context = torch.cat([prompt.to(duration.dtype), duration], dim=1) * (~dropped)[:, None, None]
        return self.dit(x, times, self.dit.condition(context, duration[:, 0], local, repeats), padding)
