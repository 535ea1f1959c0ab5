"""The trainable part of an Instruct-MusicGen editor: the adapter, and LoRA in a frozen language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.musicgen.model import InstructConfig
from soundloom.engines.torch.blocks import Linear
from soundloom.engines.torch.musicgen.adapter import CPTransformer
from soundloom.engines.torch.musicgen.lm import Layer, MusicGenLM

ADAPTED = ("q_proj", "v_proj")  # of cross-attention, by LoRA


class LoRA(nn.Module):
    """A low-rank update of a linear layer, initially zero."""

    def __init__(self, base: Linear, config: InstructConfig) -> None:
        super().__init__()
        self.scaling = config.lora_scaling
        self.lora_A = nn.Parameter(torch.randn(config.lora_rank, base.in_features) / base.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.lora_rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


class LoRALinear(nn.Module):
    """A frozen linear layer with its LoRA."""

    def __init__(self, base: Linear, lora: LoRA) -> None:
        super().__init__()
        self.base, self.lora = base, lora

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora(x)


class Editor(nn.Module):
    """An adapter, and LoRA in the cross-attention of a frozen language model."""

    def __init__(self, lm: MusicGenLM, config: InstructConfig) -> None:
        super().__init__()
        self._frozen = (lm.requires_grad_(False),)  # a tuple hides it from the parameters and the state
        self.cp_transformer = CPTransformer(lm.config, config)
        self.lora = nn.ModuleList(self._adapt(layer, config) for layer in lm.transformer)

    @property
    def lm(self) -> MusicGenLM:
        return self._frozen[0]

    def _adapt(self, layer: Layer, config: InstructConfig) -> nn.ModuleDict:
        loras = nn.ModuleDict()
        for name in ADAPTED:
            base = layer.cross_attention.get_submodule(name)
            assert isinstance(base, Linear)
            loras[name] = lora = LoRA(base, config)
            setattr(layer.cross_attention, name, LoRALinear(base, lora))
        return loras
