"""AdamW on one flat vector of all tensors of an adapter, matrices first.

Decay multiplies the parameters before the update, moments are corrected for their start at zero, and epsilon is added
outside of the root, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from soundloom.training.config import LoopConfig
from soundloom.training.loop.schedule import learning_rate
from soundloom.training.lora.mlx.network import Tree


class FlatLayout:
    """Where the tensors of an adapter lie in one vector."""

    def __init__(self, tree: Tree) -> None:
        tensors = [(name, kind, array.shape) for name, kinds in tree.items() for kind, array in kinds.items()]
        self.places = sorted(tensors, key=lambda place: len(place[2]) < 2)
        sizes = [int(np.prod(shape)) for _, _, shape in self.places]
        self.ends = np.cumsum(sizes).tolist()
        self.matrices = sum(size for size, place in zip(sizes, self.places, strict=True) if len(place[2]) >= 2)

    @property
    def text(self) -> str:
        """The names and shapes of all tensors, in order."""
        return " ".join(f"{name}.{kind}:{'x'.join(map(str, shape))}" for name, kind, shape in self.places)

    def join(self, tree: Mapping[str, Mapping[str, mx.array]]) -> mx.array:
        """Return all tensors as one vector."""
        return mx.concatenate([tree[name][kind].flatten() for name, kind, _ in self.places])

    def split(self, vector: mx.array) -> Tree:
        """Return the tensors of a vector."""
        tree: Tree = {}
        parts = mx.split(vector, self.ends[:-1])
        for (name, kind, shape), part in zip(self.places, parts, strict=True):
            tree.setdefault(name, {})[kind] = part.reshape(shape)
        return tree


@dataclass(frozen=True)
class AdamState:
    """The parameters and their moments, each one vector."""

    parameters: mx.array
    first: mx.array
    second: mx.array

    @classmethod
    def start(cls, parameters: mx.array) -> AdamState:
        return cls(parameters, mx.zeros_like(parameters), mx.zeros_like(parameters))


def clipped(gradient: mx.array, limit: float) -> tuple[mx.array, mx.array]:
    """Return a gradient whose norm is at most `limit`, and its norm before."""
    norm = mx.sqrt(mx.square(gradient).sum())
    return gradient * mx.minimum(limit / (norm + 1e-6), 1.0), norm


def step_scalars(step: int, config: LoopConfig) -> mx.array:
    """Return what changes from step to step, which counts from 0: the learning rate, the decay, and corrections."""
    rate, (beta1, beta2) = learning_rate(step, config), config.betas
    decay = 1 - rate * config.weight_decay
    return mx.array([decay, rate / (1 - beta1 ** (step + 1)), (1 - beta2 ** (step + 1)) ** 0.5])


def adamw(state: AdamState, gradient: mx.array, scalars: mx.array, matrices: int, config: LoopConfig) -> AdamState:
    """Return the state after a step; the first `matrices` parameters belong to matrices, the others to vectors."""
    decay, rate, correction = scalars
    (of_matrices, of_vectors), (beta1, beta2) = mx.split(state.parameters, [matrices]), config.betas
    decayed = mx.concatenate([of_matrices * decay, of_vectors * decay if config.decay_vectors else of_vectors])
    first = beta1 * state.first + (1 - beta1) * gradient
    second = beta2 * state.second + (1 - beta2) * mx.square(gradient)
    update = rate * first / (mx.sqrt(second) / correction + config.epsilon)
    return AdamState(decayed - update, first, second)
