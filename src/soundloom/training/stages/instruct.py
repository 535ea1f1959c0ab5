"""Training of the Instruct-MusicGen adapter: a frozen language model learns to follow instructions about a sound.

The loss is the mean cross-entropy of all slots of the delay pattern that are predicted. Letters: b clips, q codebooks,
t frames, v tokens of a codebook, l text tokens. Source: instruct-MusicGen; see its rules of data in `synthetic.stems`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.autoregressive import delay
from soundloom.autoregressive.positions import sinusoids
from soundloom.config.musicgen.model import AdapterSizes, InstructConfig
from soundloom.config.ranges import Ranged, Within
from soundloom.datasets.synthetic.sounds.stems import Kind, StemEdit, Stems, render_stems, sample_edit
from soundloom.engines.torch.blocks import Linear
from soundloom.engines.torch.musicgen.adapter import CPTransformer
from soundloom.engines.torch.musicgen.lm import Conditioning, Layer, MusicGenLM
from soundloom.training.config import LoopConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.ranges import BatchSize, Share

ADAPTED = ("q_proj", "v_proj")  # of cross-attention, by LoRA
KEPT_PIECES = 128  # in memory


@dataclass(frozen=True)
class InstructTrainingConfig(Ranged):
    """How the adapter is trained."""

    loop: LoopConfig
    adapter: AdapterSizes = field(default_factory=AdapterSizes)
    stems: Kind = "music"  # that pieces are made of
    batch_size: BatchSize = 8
    seconds: Annotated[float, Within(0.05, 600)] = 5.0  # of a clip
    # Different pieces that are trained on; 0 for as many as there are edits.
    pieces: Annotated[int, Within(0, 1_000_000)] = 0
    text_dropout: Share = 0.3  # share of edits whose instruction is left out, for guidance


class LoRA(nn.Module):
    """What is added to a linear layer's result: the product of two thin layers, which starts at nothing."""

    def __init__(self, base: Linear, config: InstructConfig) -> None:
        super().__init__()
        self.scaling = config.lora_scaling
        self.lora_A = nn.Parameter(torch.randn(config.lora_rank, base.in_features) / base.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.lora_rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


class Adapted(nn.Module):
    """A frozen linear layer with its LoRA."""

    def __init__(self, base: Linear, lora: LoRA) -> None:
        super().__init__()
        self.base, self.lora = base, lora

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora(x)


class Editor(nn.Module):
    """What is trained: an adapter, and LoRA in the cross-attention of a language model that is frozen."""

    def __init__(self, lm: MusicGenLM, config: InstructConfig) -> None:
        super().__init__()
        self._frozen = (lm.requires_grad_(False),)  # in a tuple it is no part of what is trained, averaged and saved
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
            setattr(layer.cross_attention, name, Adapted(base, lora))
        return loras


def token_loss(
    lm: MusicGenLM, codes: Tensor, text: Conditioning, adapter: CPTransformer | None, source: Tensor
) -> Tensor:
    """Mean cross-entropy of codes (b, q, t), of edits of `source` (b, q, t) where there is an adapter.

    Only the first t + 1 positions are fed, so the last frames of late codebooks are not predicted.
    """
    frames = codes.shape[-1]
    sequence = torch.from_numpy(delay.build(codes.cpu().numpy(), lm.config.delays, lm.config.special_token))
    tokens = sequence[..., : frames + 1].to(codes.device)
    positions = torch.arange(frames + 1, device=codes.device)
    table = torch.from_numpy(sinusoids(frames + 1, lm.config.hidden_size)).to(codes.device)
    adapter_kv = adapter(lm, source, training=True) if adapter is not None else None
    logits = lm.logits(lm(tokens, positions, table, text, adapter_kv=adapter_kv))[:, :, :-1]  # of positions from 1 on
    wanted = tokens[:, :, 1:]
    real = wanted != lm.config.special_token
    return F.cross_entropy(logits[real], wanted[real])


class InstructionDataset(ABC):
    """Draws edits of pieces of the synthetic world as codes."""

    def __init__(self, config: InstructTrainingConfig) -> None:
        self.config = config
        self._kept = lru_cache(maxsize=KEPT_PIECES)(self._numbered)

    @abstractmethod
    def encode(self, sounds: np.ndarray) -> np.ndarray:
        """Return codes (b, q, t) of mono sounds (b, n) at 44100 Hz."""

    @abstractmethod
    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings (b, l, width) and mask (b, l) of instructions."""

    def sample(self, stream: RngStream) -> tuple[list[StemEdit], np.ndarray, np.ndarray]:
        """Return a batch of edits with their codes before and after, (b, q, t)."""
        edits = [sample_edit(self.piece(stream.rng), stream.rng) for _ in range(self.config.batch_size)]
        return edits, self.encode(np.stack([e.before for e in edits])), self.encode(np.stack([e.after for e in edits]))

    def piece(self, rng: np.random.Generator) -> Stems:
        """Play a new piece, or one of those that are trained on."""
        if not self.config.pieces:
            return self.render(rng)
        return self._kept(int(rng.integers(self.config.pieces)))

    def _numbered(self, number: int) -> Stems:
        key = np.array([self.config.loop.seed, number], dtype=np.uint64)
        return self.render(np.random.Generator(np.random.Philox(key=key)))

    def render(self, rng: np.random.Generator) -> Stems:
        """Play a piece of the configured kind and length."""
        return render_stems(rng, self.config.seconds, self.config.stems)


class InstructTask:
    """Edits with their instructions, some of which are left out."""

    def __init__(self, editor: Editor, edits: InstructionDataset, config: InstructTrainingConfig) -> None:
        self.module, self.edits, self.config = editor, edits, config

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the codes after the edits of one batch."""
        edits, before, after = self.edits.sample(stream)
        hidden, mask = self.edits.embed([edit.instruction for edit in edits])
        kept = stream.rng.random((len(edits), 1)) >= self.config.text_dropout
        text = self.module.lm.condition(stream.tensor(hidden), stream.tensor(mask & kept))
        # Padding is masked, as when edits are made; what is dropped stays in attention, as zeros that add nothing.
        text = replace(text, mask=stream.tensor(mask)[:, None, None])
        codes, source = stream.tensor(after), stream.tensor(before)
        return {"loss": token_loss(self.module.lm, codes, text, self.module.cp_transformer, source)}


class LanguageModelTask:
    """Plain language modeling of mixes without words, for models that start from nothing."""

    def __init__(self, lm: MusicGenLM, edits: InstructionDataset) -> None:
        self.module, self.edits = lm, edits

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the codes of one batch of mixes."""
        edits, _, after = self.edits.sample(stream)
        hidden, mask = self.edits.embed([edit.instruction for edit in edits])
        text = self.module.condition(stream.tensor(hidden), stream.tensor(mask), mask_padding=True)
        codes = stream.tensor(after)
        return {"loss": token_loss(self.module, codes, text, None, codes)}
