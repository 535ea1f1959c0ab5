"""Feeding the language model one position after the other; what does not change between steps is computed once.

Letters as in `musicgen.py`; c is the capacity of a cache, in positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from soundloom.autoregressive.positions import sinusoids
from soundloom.engines.mlx.musicgen.lm import AdapterKV, Conditioning, MusicGenLM, attention


class Cache:
    """Keys and values of all positions so far. Room for a whole clip is taken at once: nothing grows as it is made."""

    def __init__(self, lm: MusicGenLM, rows: int, capacity: int, dtype: mx.Dtype) -> None:
        config = lm.config
        shape = (rows, config.num_attention_heads, capacity, config.head_dim)
        self.keys, self.values = ([mx.zeros(shape, dtype) for _ in range(config.num_hidden_layers)] for _ in range(2))
        self.length = 0

    def __call__(self, layer: int, q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        """Remember k and v (r, h, s, k), attend with q; more than one position only at the start."""
        end = self.length + q.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        if self.length == 0:
            return attention(q, k, v, "causal")
        return attention(q, keys[:, :, :end], values[:, :, :end])


class DecoderState:
    """A batch of clips on its way: takes the tokens of the next positions, returns the logits of the one after.

    It serves as `autoregressive.generation.Decoder`. With guidance, each clip has a second row without prompt.
    """

    def __init__(
        self,
        lm: MusicGenLM,
        text: Conditioning,
        capacity: int,
        guided: bool,
        adapter_kv: Sequence[AdapterKV] | None = None,
    ) -> None:
        self.lm, self.text, self.adapter_kv = lm, text, adapter_kv
        self.copies = 2 if guided else 1
        self.table = mx.array(sinusoids(capacity, lm.config.hidden_size))
        self.cache = Cache(lm, self.copies * text.clips, capacity, text.cross_kv[0][0].dtype)
        # Computed now: what is still to be computed would be so with the first step, all at once.
        mx.eval(text.cross_kv, [(one.q, one.k, one.v) for one in adapter_kv or ()])

    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Feed tokens (b, q, s); return logits (b, q, v), prompted and, if guided, not."""
        logits = np.array(self._advance(mx.array(np.tile(tokens, (self.copies, 1, 1)))))
        clips = self.text.clips
        return logits[:clips], logits[clips:] if self.copies == 2 else None

    def _advance(self, tokens: mx.array) -> mx.array:
        start = self.cache.length
        positions = mx.arange(start, start + tokens.shape[-1])
        hidden = self.lm(tokens, positions, self.table, self.text, self.cache, self.adapter_kv)
        self.cache.length += tokens.shape[-1]
        logits = self.lm.logits(hidden[:, -1:])[:, :, 0]
        mx.eval(logits, self.cache.keys, self.cache.values)
        return logits
