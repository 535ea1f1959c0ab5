"""Count the multiply-adds of text-to-audio sampling, compared with the published MLX code.

    python benchmarks/step_operations.py [--width 128] [--frames 54] [--steps 8]

The published code projects the prompt to keys and values, and computes the local embedding of zeros for every frame, in
each block of each step. Here both happen once per clip, the second for a single frame. Both counts include one
embedding of the prompt, though the published code may repeat it in each step. Linear layers, convolutions, and
attention are counted as they run; norms and activations are not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import mlx.core as mx

from soundloom.config.catalogue import require_entry
from soundloom.config.stable_audio.model import DiTConfig
from soundloom.engines.mlx import blocks
from soundloom.engines.mlx.stable_audio import dit
from soundloom.engines.mlx.stable_audio.dit import Conditioning, DiT

CONTEXT = 257  # prompt tokens and the duration


@dataclass
class Counter:
    """Running count of multiply-adds."""

    total: int = 0


@contextmanager
def counted() -> Iterator[Counter]:
    """Count multiply-adds of linear layers and attention within the context."""
    counter, linear, pointwise = Counter(), blocks.Linear.__call__, dit.PointwiseConv.__call__
    attention = mx.fast.scaled_dot_product_attention

    def count_linear(layer: Any, x: mx.array) -> mx.array:
        counter.total += x.size * layer.weight.shape[0]
        return linear(layer, x)

    def count_attention(q: mx.array, k: mx.array, v: mx.array, **options: Any) -> mx.array:
        counter.total += 2 * q.size * k.shape[-2]
        return attention(q, k, v, **options)

    def count_pointwise(conv: dit.PointwiseConv, x: mx.array) -> mx.array:
        counter.total += x.size * conv.weight.shape[0]
        return pointwise(conv, x)

    with (
        patch.object(blocks.Linear, "__call__", count_linear),
        patch.object(mx.fast, "scaled_dot_product_attention", count_attention),
        patch.object(dit.PointwiseConv, "__call__", count_pointwise),
    ):
        yield counter


def config_of_width(width: int, depth: int) -> DiTConfig:
    """Return small-music's transformer at another width and depth."""
    return replace(
        require_entry("small-music").parsed_config().dit, embed_dim=width, depth=depth, num_heads=width // 64
    )


@dataclass(frozen=True)
class Clip:
    """Return random inputs of a clip."""

    x: mx.array
    context: mx.array
    duration: mx.array

    @classmethod
    def random(cls, config: DiTConfig, frames: int) -> Clip:
        mx.random.seed(0)
        shapes = (1, config.io_channels, frames), (1, CONTEXT, config.cond_token_dim), (1, config.global_cond_dim)
        return cls(*(mx.random.normal(shape) for shape in shapes))


def sample(network: DiT, clip: Clip, steps: int, tokens: mx.array | None) -> mx.array:
    """Run sampling steps; with embedded `tokens`, recompute the constant parts in each step."""
    frames = 1 if tokens is None else clip.x.shape[-1]
    zeros = mx.zeros((1, network.config.local_add_cond_dim, frames))
    condition, x = network.condition(clip.context, clip.duration, zeros), clip.x
    for step in range(steps):
        if step and tokens is not None:
            condition = computed_again(network, condition, tokens, zeros)
        x = x - network(x, mx.array([1 - step / steps]), condition) / steps
        mx.eval(x)
    return x


def computed_again(network: DiT, condition: Conditioning, tokens: mx.array, zeros: mx.array) -> Conditioning:
    """Return the same conditioning with recomputed keys, values, and local embeddings."""
    layers = network.transformer.layers
    return replace(
        condition,
        cross_kv=[layer.cross_attn.project_kv(tokens) for layer in layers],
        local_embeds=[blocks.sequence(layer.to_local_embed, zeros.swapaxes(1, 2)) for layer in layers],
    )


def compare(width: int, depth: int, frames: int, steps: int) -> tuple[int, int, float]:
    """Return both counts of multiply-adds, and the largest relative difference of the results."""
    config = config_of_width(width, depth)
    network, clip = DiT(config), Clip.random(config, frames)
    tokens = blocks.sequence(network.to_cond_embed, clip.context)
    with counted() as ours:
        x = sample(network, clip, steps, None)
    with counted() as published:
        y = sample(network, clip, steps, tokens)
    return ours.total, published.total, (mx.abs(x - y).max() / mx.abs(y).max()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--frames", type=int, default=54, help="latent frames; 54 are 5 s")
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    ours, published, error = compare(args.width, args.depth, args.frames, args.steps)
    print(f"ours       {ours / args.steps / 1e6:10.2f} million multiply-adds a step")
    print(f"published  {published / args.steps / 1e6:10.2f}")
    print(f"fewer by   {100 * (1 - ours / published):10.1f} %   largest difference {error:.1e} of the peak")


if __name__ == "__main__":
    main()
