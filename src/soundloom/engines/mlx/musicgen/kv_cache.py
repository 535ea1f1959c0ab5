"""Autoregressive decoding with the language model: KV caches and the state of a batch.

Letters as in `lm.py`.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from soundloom.autoregressive.positions import sinusoids
from soundloom.engines.mlx.musicgen.lm import AdapterKVs, Conditioning, MusicGenLM, attention


class SlicedKVCache:
    """A KV cache preallocated for all positions of a clip; attention reads a slice of it."""

    def __init__(self, lm: MusicGenLM, rows: int, capacity: int, dtype: mx.Dtype) -> None:
        config = lm.config
        shape = (rows, config.num_attention_heads, capacity, config.head_dim)
        self.keys, self.values = ([mx.zeros(shape, dtype) for _ in range(config.num_hidden_layers)] for _ in range(2))
        self.length = 0

    def __call__(self, layer: int, q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        """Store k and v (r, h, s, k) and attend with q; only the first call may have several positions."""
        end = self.length + q.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        if self.length == 0:
            return attention(q, k, v, "causal")
        return attention(q, keys[:, :, :end], values[:, :, :end])


class DecoderState:
    """Decodes a batch of clips; an `autoregressive.generation.Decoder`. Guidance adds a row without prompt per clip."""

    def __init__(
        self, lm: MusicGenLM, cond: Conditioning, capacity: int, guided: bool, adapter_kv: AdapterKVs = None
    ) -> None:
        self.lm, self.conditioning, self.adapter_kv = lm, cond, adapter_kv
        self.rows_per_clip = 2 if guided else 1
        self.table = mx.array(sinusoids(capacity, lm.config.hidden_size))
        self.cache = SlicedKVCache(lm, self.rows_per_clip * cond.clips, capacity, cond.cross_kv[0][0].dtype)
        # Evaluated now: within the first step, all layers at once would take more memory.
        mx.eval(cond.cross_kv, [(one.q, one.k, one.v) for one in adapter_kv or ()])

    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Feed tokens (b, q, s); return logits (b, q, v) with prompt and, if guided, without."""
        logits = np.array(self._advance(mx.array(np.tile(tokens, (self.rows_per_clip, 1, 1)))))
        clips = self.conditioning.clips
        return logits[:clips], logits[clips:] if self.rows_per_clip == 2 else None

    def _advance(self, tokens: mx.array) -> mx.array:
        start = self.cache.length
        positions = mx.arange(start, start + tokens.shape[-1])
        hidden = self.lm(tokens, positions, self.table, self.conditioning, self.cache, self.adapter_kv)
        self.cache.length += tokens.shape[-1]
        logits = self.lm.logits(hidden[:, -1:])[:, :, 0]
        mx.eval(logits, self.cache.keys, self.cache.values)
        return logits
