"""Estimate memory and time of a run from sizes alone, and from the speed of a matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soundloom.checkpoints.stable_audio.shapes import conditioner_shapes, dit_shapes
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.lora.adapter import BORA_TYPES, COLS_TYPES, ROWS_TYPES, is_xs
from soundloom.lora.modules import matrix_shape
from soundloom.training.lora.config import AdapterConfig, LoraConfig

ADAPTER_COPIES = 6  # parameters, gradients, two moments, the average, and one in transfer
FLOATS_PER_TOKEN = 30  # widths of activations that a block keeps for its gradients, without feed-forward and scores
NORM_READS = {"rows": 2, "cols": 2, "bora": 6}  # products of the size of rank tokens that norms add per step
OVERHEAD = 1.3  # of everything beside matrix products


@dataclass(frozen=True)
class Estimate:
    """Bytes of the frozen weights, of the adapter with its optimizer, and of activations; operations of a step."""

    weights: int
    adapter: int
    activations: int
    parameters: int
    operations: float

    @property
    def memory(self) -> int:
        return self.weights + self.adapter + self.activations

    def seconds_per_step(self, operations_per_second: float) -> float:
        return OVERHEAD * self.operations / operations_per_second


def estimate(
    model: ModelConfig,
    shapes: Mapping[str, tuple[int, ...]],
    config: LoraConfig,
    longest: int,
    half: bool,
    recompute: bool,
) -> Estimate:
    """Estimate a run on layers of these shapes, with clips of at most `longest` latents; `half` is for BF16 blocks."""
    dit, data = model.dit, config.data
    frames = min(longest, data.crop, model.sample_size // model.same.downsampling_ratio)
    tokens = data.batch_size * (frames + dit.num_memory_tokens)
    weights = sum(int(np.prod(shape)) for shape in dit_shapes(dit).values())
    weights += sum(int(np.prod(shape)) for shape in conditioner_shapes(dit.cond_token_dim).values())
    parameters = sum(adapter_size(config.adapter, *matrix_shape(shape)) for shape in shapes.values())
    positions = frames + dit.num_memory_tokens
    scores = data.batch_size * dit.num_heads * positions * (positions + 64)
    per_block = tokens * (FLOATS_PER_TOKEN * dit.embed_dim + 5 * dit.ff_inner) + scores
    activations = 4 * (per_block + dit.depth * tokens * dit.embed_dim if recompute else dit.depth * per_block)
    passes = 4 if recompute else 3
    norms = next((reads for kind, reads in NORM_READS.items() if kind in config.adapter.type), 0)
    adapted = sum(int(np.prod(shape)) for shape in shapes.values())
    operations = passes / 1.5 * 2.0 * weights * tokens + 2.0 * norms * config.adapter.rank * adapted
    return Estimate(weights * (2 if half else 4), 4 * ADAPTER_COPIES * parameters, activations, parameters, operations)


def adapter_size(config: AdapterConfig, outputs: int, inputs: int) -> int:
    """Return the number of parameters of a layer's adapter."""
    factors = config.rank**2 if is_xs(config.type) else config.rank * (outputs + inputs)
    rows = outputs if config.type in (*ROWS_TYPES, *BORA_TYPES) else 0
    cols = inputs if config.type in (*COLS_TYPES, *BORA_TYPES) else 0
    return factors + rows + cols
