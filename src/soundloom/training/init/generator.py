"""The generator as training sees it: text encoder, conditioner and DiT in one module, and its initialization."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.engines.torch.blocks import Padding
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import DiT, TransformerBlock
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.training.data.batches import TrainingBatch

INPUT_GAIN = 0.2  # of latents in the token stream at initialization; trained blocks write values near 1


class Generator(nn.Module):
    """Predict the velocity of noisy latents from a prompt."""

    def __init__(self, model: ModelConfig, text: T5GemmaConfig) -> None:
        super().__init__()
        self.text = T5GemmaEncoder(text)
        self.conditioner = Conditioner(model.model.conditioning)
        self.dit = DiT(model.dit)

    def embed(self, ids: Tensor, mask: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the context (b, s + 1, d) and the duration embedding (b, d) of prompts."""
        return self.conditioner(self.text(ids, mask), mask, seconds)

    def forward(self, batch: TrainingBatch, x: Tensor, t: Tensor, embedded: tuple[Tensor, Tensor]) -> Tensor:
        """Return the velocity (b, c, t) at x."""
        context, duration = embedded
        return self.dit(x, t, self.dit.condition(context, duration, batch.local), Padding(batch.valid))


@torch.no_grad()
def initialize(generator: Generator) -> None:
    """Zero the output of every branch, as the published code does, and make the two projections inverse.

    Latents pass between the projections at `INPUT_GAIN`. Noise, which dominates the velocity at high noise levels,
    then reaches the output unchanged and does not mask what blocks write. This matters when the network is hardly wider
    than its latents: it learns much sooner.
    """
    dit = generator.dit
    project_in, project_out = dit.transformer.project_in.weight, dit.transformer.project_out.weight
    nn.init.orthogonal_(project_in, INPUT_GAIN)
    project_out.copy_(project_in.T / INPUT_GAIN**2)
    zeroed: list[nn.Module] = [dit.preprocess_conv, dit.postprocess_conv]
    for layer in dit.transformer.layers:
        assert isinstance(layer, TransformerBlock)
        zeroed += [layer.self_attn.to_out, layer.cross_attn.to_out, layer.ff.ff[2], layer.to_local_embed[2]]
    for module in zeroed:
        for parameter in module.parameters():
            parameter.zero_()
    initialize_text(generator.text)


@torch.no_grad()
def initialize_text(encoder: T5GemmaEncoder) -> None:
    """Give token embeddings unit size after the encoder's own scaling."""
    encoder.embed_tokens.weight.normal_(std=encoder.config.hidden_size**-0.5)
