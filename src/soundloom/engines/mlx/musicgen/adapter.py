"""The adapter of Instruct-MusicGen: what the language model attends to of the sound that is to be edited.

It runs the codes of that sound through the layers of the language model itself: only the positions, what merges the
codes into each layer, and the gates are its own. Its LoRA on cross-attention is merged into the language model.
Letters for axes: b clips, q codebooks, t frames, d width; one frame of special tokens ends each clip.
Source: instruct-MusicGen, model.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
from mlx import nn

from soundloom.config.musicgen.model import InstructConfig, LMConfig
from soundloom.engines.mlx.blocks import Linear
from soundloom.engines.mlx.musicgen.lm import AdapterKV, MusicGenLM, attend_causally, join_heads
from soundloom.errors import RequestError


class CPTransformer(nn.Module):
    """Codes of a sound to what joins self-attention in each layer."""

    def __init__(self, lm: LMConfig, config: InstructConfig) -> None:
        super().__init__()
        d, layers = lm.hidden_size, lm.num_hidden_layers
        self.config = config
        self.pos_emb = mx.random.normal((layers + 1, config.rows, d))
        self.merge_linear = [Linear(d, d, bias=False) for _ in range(layers)]
        self.gates = mx.zeros((layers,))

    def __call__(self, lm: MusicGenLM, codes: mx.array, training: bool = False) -> list[AdapterKV]:
        """Return what codes (b, q, t), without delays, add to each layer of `lm`.

        In training, as published, the last position asks with the row of the end frame; else with that before it.
        Raises RequestError when there are more frames than positions.
        """
        frames = codes.shape[-1]
        if not 0 < frames <= self.config.max_frames:
            raise RequestError(
                f"the adapter takes 1 to {self.config.max_frames} frames at a time, found {frames}",
                "cut the sound into shorter windows",
            )
        last_row = frames if training else frames - 1
        return [AdapterKV(*parts, self.gates[index], last_row) for index, (_, parts) in enumerate(self.run(lm, codes))]

    def run(self, lm: MusicGenLM, codes: mx.array) -> Iterator[tuple[mx.array, tuple[mx.array, mx.array, mx.array]]]:
        """Yield, for each layer, the stream (b, t + 1, d) that enters it and its queries, keys and values."""
        end = mx.full((*codes.shape[:2], 1), lm.config.special_token, codes.dtype)
        merged = lm.embed(mx.concatenate([codes, end], axis=-1))  # (b, t + 1, d)
        positions = self.pos_emb[:, : merged.shape[1]].astype(mx.float32)
        h = mx.broadcast_to(positions[0], merged.shape)  # the codes themselves only come in at each layer
        for index, layer in enumerate(lm.transformer.layers):
            condition = self.merge_linear[index](merged) + positions[index + 1]
            q, k, v = layer.self_attn.project(layer.norm1(h) + condition)
            yield h, (q, k, v)
            h = h + layer.self_attn.out_proj(join_heads(attend_causally(index, q, k, v)))
            h = h + layer.feed_forward(h)
