"""The adapter of Instruct-MusicGen: keys and values of the source that the language model attends to in an edit.

It runs the source's tokens through the layers of the language model; only its position embeddings, the linear layers
that merge the tokens into each layer, and the gates are its own. Its LoRA on cross-attention is merged into the
language model.
Letters for axes: b clips, q codebooks, t frames, d width; one frame of special tokens ends each clip.
Source: instruct-MusicGen, model.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from soundloom.config.musicgen.model import InstructConfig, LMConfig
from soundloom.engines.torch.blocks import Linear
from soundloom.engines.torch.musicgen.lm import AdapterKV, MusicGenLM, attend_causally, join_heads
from soundloom.errors import RequestError


class CPTransformer(nn.Module):
    """Computes `AdapterKV` of the source's tokens for each layer of the language model."""

    def __init__(self, lm: LMConfig, config: InstructConfig) -> None:
        super().__init__()
        d, layers = lm.hidden_size, lm.num_hidden_layers
        self.config = config
        self.pos_emb = nn.Parameter(torch.randn(layers + 1, config.rows, d))
        self.merge_linear = nn.ModuleList(Linear(d, d, bias=False) for _ in range(layers))
        self.gates = nn.Parameter(torch.zeros(layers))

    def forward(self, lm: MusicGenLM, tokens: Tensor, training: bool = False) -> list[AdapterKV]:
        """Return the adapter's keys and values of tokens (b, q, t), without delays, for each layer of `lm`.

        As published, the last position uses the query row of the end frame in training, and the row before otherwise.
        Raises RequestError when there are more frames than position embeddings.
        """
        frames = tokens.shape[-1]
        if not 0 < frames <= self.config.max_frames:
            raise RequestError(
                f"the adapter takes 1 to {self.config.max_frames} frames at a time, found {frames}",
                "split the source into shorter windows",
            )
        last_row = frames if training else frames - 1
        return [AdapterKV(*parts, self.gates[index], last_row) for index, (_, parts) in enumerate(self.run(lm, tokens))]

    def run(self, lm: MusicGenLM, tokens: Tensor) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor, Tensor]]]:
        """Yield the residual stream (b, t + 1, d) before each layer, and the queries, keys and values of the layer."""
        end = tokens.new_full((*tokens.shape[:2], 1), lm.config.special_token)
        merged = lm.embed(torch.cat([tokens, end], dim=-1))  # (b, t + 1, d)
        positions = self.pos_emb[:, : merged.shape[1]].float()
        h = positions[0].expand_as(merged)  # tokens are merged in each layer
        for index, layer in enumerate(lm.transformer):
            q, k, v = layer.self_attn.project(
                layer.norm1(h) + (self.merge_linear[index](merged) + positions[index + 1])
            )
            yield h, (q, k, v)
            h = h + layer.self_attn.out_proj(join_heads(attend_causally(index, q, k, v)))
            h = h + layer.feed_forward(h)
