"""Reference implementation of Instruct-MusicGen: float64, one head and one query at a time, no cache.

Weights have the names of `checkpoints.musicgen.shapes`. Letters for axes: s positions, n source frames, d width.
"""

from __future__ import annotations

from math import erf

import numpy as np

from soundloom.config.musicgen.model import LMConfig

Weights = dict[str, np.ndarray]


def guided_logits(
    lm: Weights, adapter: Weights, config: LMConfig, tokens: np.ndarray, source: np.ndarray, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (q, s, v) of tokens (q, s), edits of source (q, t), with embeddings (l, width) and without."""
    model = Reference({name: value.astype(np.float64) for name, value in (lm | adapter).items()}, config)
    adapter_kv = model.adapter_kv(source)
    text = hidden @ model.w["output_proj.weight"].T + model.w["output_proj.bias"]
    return model.logits(tokens, adapter_kv, text), model.logits(tokens, adapter_kv, np.zeros_like(text))


class Reference:
    """The model's equations."""

    def __init__(self, weights: Weights, config: LMConfig) -> None:
        self.w, self.config = weights, config
        self.head_dim = config.hidden_size // config.num_attention_heads

    def layer(self, index: int, name: str) -> np.ndarray:
        return self.w[f"transformer.layers.{index}.{name}"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centered = x - x.mean(-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def embed(self, tokens: np.ndarray) -> np.ndarray:
        return sum(self.w[f"emb.{q}.weight"][row] for q, row in enumerate(tokens))

    def feed_forward(self, x: np.ndarray, index: int) -> np.ndarray:
        inner = self.norm(x, f"transformer.layers.{index}.norm2") @ self.layer(index, "linear1.weight").T
        return (inner * (1 + np.vectorize(erf)(inner / 2**0.5)) / 2) @ self.layer(index, "linear2.weight").T

    def attend(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:
        out = np.zeros_like(q)
        for start in range(0, self.config.hidden_size, self.head_dim):
            head = slice(start, start + self.head_dim)
            for s in range(len(q)):
                seen = s + 1 if causal else len(k)
                scores = k[:seen, head] @ q[s, head] / self.head_dim**0.5
                weights = np.exp(scores - scores.max())
                out[s, head] = weights / weights.sum() @ v[:seen, head]
        return out

    def adapter_kv(self, source: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return queries, keys and values (n, d) of each layer, including the end frame."""
        end = np.full((len(source), 1), self.config.special_token)
        z = self.embed(np.concatenate([source, end], axis=1))
        table = self.w["pos_emb"][:, : len(z)]
        o, parts = table[0], []
        for index in range(self.config.num_hidden_layers):
            u = self.norm(o, f"transformer.layers.{index}.norm1")
            u = u + z @ self.w[f"merge_linear.{index}.weight"].T + table[index + 1]
            q, k, v = np.split(u @ self.layer(index, "self_attn.in_proj.weight").T, 3, axis=1)
            parts.append((q, k, v))
            o = o + self.attend(q, k, v, causal=True) @ self.layer(index, "self_attn.out_proj.weight").T
            o = o + self.feed_forward(o, index)
        return parts

    def logits(
        self, tokens: np.ndarray, adapter_kv: list[tuple[np.ndarray, np.ndarray, np.ndarray]], text: np.ndarray
    ) -> np.ndarray:
        positions = np.arange(tokens.shape[1])
        half = self.config.hidden_size // 2
        angles = positions[:, None] * np.array([10_000.0 ** (-i / (half - 1)) for i in range(half)])
        x = self.embed(tokens) + np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        for index, (adapter_q, adapter_k, adapter_v) in enumerate(adapter_kv):
            u = self.norm(x, f"transformer.layers.{index}.norm1")
            q, k, v = np.split(u @ self.layer(index, "self_attn.in_proj.weight").T, 3, axis=1)
            rows = np.minimum(positions, len(adapter_q) - 2)  # the end frame's query is unused
            attended = self.attend(adapter_q[rows] + q, adapter_k, adapter_v, causal=False)
            out = self.attend(q, k, v, causal=True) + self.w["gates"][index] * attended
            x = x + out @ self.layer(index, "self_attn.out_proj.weight").T
            u = self.norm(x, f"transformer.layers.{index}.norm_cross")
            q, k, v = (
                source @ self.layer(index, f"cross_attention.{part}_proj.weight").T
                for part, source in (("q", u), ("k", text), ("v", text))
            )
            x = x + self.attend(q, k, v, causal=False) @ self.layer(index, "cross_attention.out_proj.weight").T
            x = x + self.feed_forward(x, index)
        x = self.norm(x, "out_norm")
        return np.stack([x @ self.w[f"linears.{q}.weight"].T for q in range(self.config.num_codebooks)])
