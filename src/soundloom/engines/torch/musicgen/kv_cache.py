"""Feeding the language model one position after the other; what does not change between steps is computed once.

Letters as in `musicgen.py`; c is the capacity of a cache, in positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundloom.autoregressive.positions import sinusoids
from soundloom.engines.torch.cuda_graphs import CapturedGraph
from soundloom.engines.torch.inference import inference_mode
from soundloom.engines.torch.musicgen.lm import AdapterKV, Conditioning, MusicGenLM


class Cache:
    """Keys and values of all positions so far. Room for a whole clip is taken at once: nothing grows as it is made."""

    def __init__(self, lm: MusicGenLM, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        config = lm.config
        shape = (config.num_hidden_layers, rows, config.num_attention_heads, capacity, config.head_dim)
        self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        self.length = 0

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Remember k and v (r, h, s, k), attend with q; more than one position only at the start."""
        end = self.length + q.shape[2]
        keys, values = self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        keys[:, :, self.length :], values[:, :, self.length :] = k, v
        if self.length == 0:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.scaled_dot_product_attention(q, keys, values)


class FixedCache:
    """The same with a position that lies on the device, so that a step is the same operations at each position."""

    def __init__(self, filled: Cache) -> None:
        self.keys, self.values = filled.keys, filled.values
        self.places = torch.arange(self.keys.shape[3], device=self.keys.device)
        self.position = torch.full((1,), filled.length, device=self.keys.device)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Remember one position's k and v (r, h, 1, k) and attend over all places that are filled."""
        self.keys[layer].index_copy_(2, self.position, k)
        self.values[layer].index_copy_(2, self.position, v)
        filled = (self.places <= self.position).view(1, 1, 1, -1)
        return F.scaled_dot_product_attention(q, self.keys[layer], self.values[layer], attn_mask=filled)


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
        keys = text.cross_kv[0][0]
        self.device = keys.device
        self.table = torch.from_numpy(sinusoids(capacity, lm.config.hidden_size)).to(self.device)
        self.cache = Cache(lm, self.copies * text.clips, capacity, keys.dtype, self.device)
        self.graph: StepGraph | None = None

    @inference_mode
    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Feed tokens (b, q, s); return logits (b, q, v), prompted and, if guided, not."""
        fed = torch.from_numpy(np.ascontiguousarray(tokens)).to(self.device)
        logits = self._advance(fed.repeat(self.copies, 1, 1)).cpu().numpy()
        clips = self.text.clips
        return logits[:clips], logits[clips:] if self.copies == 2 else None

    def _advance(self, tokens: Tensor) -> Tensor:
        if self.graph is None and self.cache.length and self.device.type == "cuda":
            self.graph = StepGraph(self, tokens)
        if self.graph is not None:
            return self.graph(tokens)
        start = self.cache.length
        positions = torch.arange(start, start + tokens.shape[-1], device=self.device)
        hidden = self.lm(tokens, positions, self.table, self.text, self.cache, self.adapter_kv)
        self.cache.length += tokens.shape[-1]
        return self.lm.logits(hidden[:, -1:])[:, :, 0]


class StepGraph:
    """One step as a fixed series of operations, which on NVIDIA are recorded once and replayed."""

    def __init__(self, decoding: DecoderState, tokens: Tensor) -> None:
        """Record the step for tokens of this shape (r, q, 1)."""
        self.decoding = decoding
        self.cache = FixedCache(decoding.cache)
        self.replay = CapturedGraph(self._step, {"tokens": tokens})

    def _step(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Feed one position and return the logits (r, q, v); the position stays as it is."""
        one = self.decoding
        hidden = one.lm(inputs["tokens"], self.cache.position, one.table, one.text, self.cache, one.adapter_kv)
        return (one.lm.logits(hidden)[:, :, 0],)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Feed one position (r, q, 1), go on to the next, and return the logits (r, q, v)."""
        logits = self.replay({"tokens": tokens})[0]
        self.cache.position += 1
        return logits
