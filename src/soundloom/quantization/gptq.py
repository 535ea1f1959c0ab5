"""GPTQ: quantize weights column by column, compensating each column's error in the columns that follow.

The Hessian of a layer's output error is the sum of x x^T over its inputs x in real forward passes.
Source: Frantar et al., "GPTQ", arXiv 2210.17323.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module

import numpy as np

from soundloom.checkpoints.formats.affine import Array, Quantized, fit_scale_bias, pack
from soundloom.checkpoints.formats.packed import PackedTensor, from_quantized
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from soundloom.engines.stable_audio import Engine
from soundloom.pipeline.progress import Progress, ProgressCallback
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.trajectory import Trajectory

# Calibration prompts and seeds differ from those of the report, which measures held-out error.
PROMPTS = (
    "drum loop, 100 BPM",
    "a 440 Hz tone",
    "a plucked C4",
    "warm pad in A minor",
    "wind",
    "a police siren",
    "bass note E1",
    "white noise",
)
SEED, SECONDS = 1000, 4.0
_LAYERS_PER_RUN = 24  # layers whose Hessians are in memory at once: 700 MB for medium
_DAMPING = 0.01  # added to the Hessian's diagonal, as a fraction of its mean
# Layers whose inputs are all frames. Others see a few tokens or one vector, and would overfit these.
_LAYER = re.compile(
    r"transformer\.(project_in|project_out|layers\.\d+\."
    r"(self_attn\.to_qkv|self_attn\.to_out|cross_attn\.to_q|cross_attn\.to_out|ff\.ff\.0\.proj|ff\.ff\.2))"
)


def apply_gptq(
    model: Model, packed: Mapping[str, LazyTensor], progress: ProgressCallback | None = None
) -> dict[str, LazyTensor]:
    """Requantize `packed` weights of the full `model` with GPTQ, at the same bits and group sizes.

    Layers with too few inputs keep their quantized values.
    """
    rounded = {_layer_of(name): t for name, t in packed.items() if isinstance(t, PackedTensor)}
    layers = [layer for layer in rounded if _LAYER.fullmatch(layer)]
    trajectory = Trajectory.record(model, SECONDS, PROMPTS, SEED)
    result = dict(packed)
    for done, (layer, hessian) in enumerate(_hessians(model.engine, trajectory, layers), 1):
        name, bits, group_size = f"{DIT_PREFIX}{layer}.weight", rounded[layer].bits, rounded[layer].group_size
        tensor = model.checkpoint.tensors[name]
        quantized = quantize_gptq(tensor.numpy().astype(np.float16), bits, group_size, hessian)
        result[name] = from_quantized(tensor, partial(Quantized, *quantized), bits, group_size)
        if progress:
            progress(Progress("calibrate", done, len(layers)))
    model.engine.free("dit")
    return result


def _layer_of(name: str) -> str:
    return name.removeprefix(DIT_PREFIX).removesuffix(".weight")


def _hessians(engine: Engine, trajectory: Trajectory, layers: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """Run the engine at the points of the trajectory; yield each layer with its Hessian (in, in)."""
    input_hooks = import_module(f"soundloom.engines.{engine.name}.hooks").input_hooks
    hessians: dict[str, Array] = {}

    def accumulate(layer: str, x: np.ndarray) -> None:
        hessians[layer] = hessians.get(layer, 0) + x.T @ x

    for start in range(0, len(layers), _LAYERS_PER_RUN):
        with input_hooks(engine, layers[start : start + _LAYERS_PER_RUN], accumulate):
            trajectory.velocities(engine)
        while hessians:
            yield hessians.popitem()


def quantize_gptq(weight: Array, bits: int, group_size: int, hessian: Array) -> Quantized:
    """Quantize a weight (out, in), float16, for a Hessian (in, in)."""
    rest, root = weight.astype(np.float32), _inverse_root(hessian)
    values = np.empty(weight.shape, np.uint32)
    scales, biases = (np.empty((len(weight), weight.shape[1] // group_size), np.float16) for _ in range(2))
    for group, start in enumerate(range(0, weight.shape[1], group_size)):
        span = slice(start, start + group_size)
        scales[:, group], biases[:, group] = fit_scale_bias(rest[:, span], 2**bits - 1)
        scale, bias = scales[:, group], biases[:, group]
        errors = np.empty((len(weight), group_size), np.float32)
        for i in range(start, start + group_size):
            column = rest[:, i]
            values[:, i] = np.rint((column - bias) / scale).clip(0, 2**bits - 1)
            dequantized = values[:, i].astype(np.float16) * scale + bias  # in the arithmetic of `dequantize`
            errors[:, i - start] = (column - dequantized) / root[i, i]
            rest[:, i + 1 : span.stop] -= np.outer(errors[:, i - start], root[i, i + 1 : span.stop])
        rest[:, span.stop :] -= errors @ root[span, span.stop :]
    return Quantized(pack(values, bits), scales, biases)


def _inverse_root(hessian: Array) -> Array:
    """Return the upper triangular U, float32, with U.T @ U the inverse of the damped Hessian."""
    damped = hessian.astype(np.float64)
    damped[np.diag_indices(len(damped))] += _DAMPING * damped.trace() / len(damped) + np.finfo(np.float32).tiny
    return np.ascontiguousarray(np.linalg.cholesky(np.linalg.inv(damped)).T, np.float32)
