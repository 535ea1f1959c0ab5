"""Autoregressive decoding with the language model: KV caches and the state of a batch.

Letters as in `lm.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundloom.autoregressive.positions import sinusoids
from soundloom.engines.torch.cuda_graphs import CapturedGraph
from soundloom.engines.torch.inference import inference_mode
from soundloom.engines.torch.musicgen.lm import AdapterKVs, Conditioning, MusicGenLM


class SlicedKVCache:
    """A KV cache preallocated for all positions of a clip; attention reads a slice of it."""

    def __init__(self, lm: MusicGenLM, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        config = lm.config
        shape = (config.num_hidden_layers, rows, config.num_attention_heads, capacity, config.head_dim)
        self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=device).unbind() for _ in range(2))
        self.length = 0

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v (r, h, s, k) and attend with q; only the first call may have several positions."""
        keys, values, start, count = self.keys[layer], self.values[layer], self.length, q.shape[2]
        keys.narrow(2, start, count).copy_(k)
        values.narrow(2, start, count).copy_(v)
        if start == 0:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        end = start + count
        return F.scaled_dot_product_attention(q, keys.narrow(2, 0, end), values.narrow(2, 0, end))


class StaticKVCache:
    """A KV cache whose position is on the device, so that each step runs the same operations."""

    def __init__(self, filled: SlicedKVCache) -> None:
        self.keys, self.values = filled.keys, filled.values
        self.indices = torch.arange(self.keys[0].shape[2], device=self.keys[0].device)
        self.position = torch.full((1,), filled.length, device=self.keys[0].device)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v (r, h, 1, k) of one position and attend to all filled positions."""
        self.keys[layer].index_copy_(2, self.position, k)
        self.values[layer].index_copy_(2, self.position, v)
        filled = (self.indices <= self.position).view(1, 1, 1, -1)
        return F.scaled_dot_product_attention(q, self.keys[layer], self.values[layer], attn_mask=filled)


class DecoderState:
    """Decodes a batch of clips; an `autoregressive.generation.Decoder`. Guidance adds a row without prompt per clip."""

    def __init__(
        self, lm: MusicGenLM, cond: Conditioning, capacity: int, guided: bool, adapter_kv: AdapterKVs = None
    ) -> None:
        self.lm, self.conditioning, self.adapter_kv = lm, cond, adapter_kv
        self.rows_per_clip = 2 if guided else 1
        keys = cond.cross_kv[0][0]
        self.device = keys.device
        self.table = torch.from_numpy(sinusoids(capacity, lm.config.hidden_size)).to(self.device)
        self.cache = SlicedKVCache(lm, self.rows_per_clip * cond.clips, capacity, keys.dtype, self.device)
        self.graph: StepGraph | None = None

    @inference_mode
    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Feed tokens (b, q, s); return logits (b, q, v) with prompt and, if guided, without."""
        fed = torch.from_numpy(np.ascontiguousarray(tokens)).to(self.device)
        logits = self._advance(fed.repeat(self.rows_per_clip, 1, 1)).cpu().numpy()
        clips = self.conditioning.clips
        return logits[:clips], logits[clips:] if self.rows_per_clip == 2 else None

    def _advance(self, tokens: Tensor) -> Tensor:
        if self.graph is None and self.cache.length and self.device.type == "cuda":
            self.graph = StepGraph(self, tokens)
        if self.graph is not None:
            return self.graph(tokens)
        start = self.cache.length
        positions = torch.arange(start, start + tokens.shape[-1], device=self.device)
        hidden = self.lm(tokens, positions, self.table, self.conditioning, self.cache, self.adapter_kv)
        self.cache.length += tokens.shape[-1]
        return self.lm.logits(hidden[:, -1:])[:, :, 0]


class StepGraph:
    """One decoding step as a CUDA graph, captured for tokens of one shape (r, q, 1)."""

    def __init__(self, state: DecoderState, tokens: Tensor) -> None:
        self.state = state
        self.cache = StaticKVCache(state.cache)
        self.graph = CapturedGraph(self._step, {"tokens": tokens})

    def _step(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Feed one position and return the logits (r, q, v), without advancing the position."""
        lm, state, position = self.state.lm, self.state, self.cache.position
        hidden = lm(inputs["tokens"], position, state.table, state.conditioning, self.cache, state.adapter_kv)
        return (lm.logits(hidden)[:, :, 0],)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Feed tokens (r, q, 1), advance the position, and return the logits (r, q, v)."""
        logits = self.graph({"tokens": tokens})[0]
        self.cache.position += 1
        return logits
