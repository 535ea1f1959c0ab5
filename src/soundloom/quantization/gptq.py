"""Error compensation: codes chosen by what a layer is given in real forwards, not by its weight alone.

A weight's inputs are rounded one after the other, and what each rounding does to the layer's outputs is taken back, as
far as inputs go together, by the inputs yet to be rounded. Source: Frantar et al., "GPTQ", arXiv 2210.17323.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module

import numpy as np

from soundloom.checkpoints.formats.affine import Array, Quantized, fit_scale_bias, pack
from soundloom.checkpoints.formats.packed import PackedTensor, from_quantized
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from soundloom.engines.stable_audio import Engine
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.trajectory import Trajectory

# Of other prompts and noise than those of the report, lest it measures what was fitted.
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
_AT_ONCE = 24  # layers whose inputs are summed up in one run: 700 MB for medium
_DAMPING = 0.01  # of the mean energy of the inputs, added to each
# Layers that see every frame. Others see a few tokens, or one vector, and would fit these alone.
_LAYER = re.compile(
    r"transformer\.(project_in|project_out|layers\.\d+\."
    r"(self_attn\.to_qkv|self_attn\.to_out|cross_attn\.to_q|cross_attn\.to_out|ff\.ff\.0\.proj|ff\.ff\.2))"
)


def apply_gptq(
    model: Model, packed: Mapping[str, LazyTensor], progress: Callable[[int, int], None] | None = None
) -> dict[str, LazyTensor]:
    """Choose the codes of `packed` anew, by runs of the full model whose weights they are.

    Bits and groups stay, and so do layers that see too little. `progress` hears of layers, done and in all.
    """
    old = {_layer_of(name): t for name, t in packed.items() if isinstance(t, PackedTensor)}
    layers = [layer for layer in old if _LAYER.fullmatch(layer)]
    probe = Trajectory.record(model, SECONDS, PROMPTS, SEED)
    found = dict(packed)
    for done, (layer, gram) in enumerate(_sums(model.engine, probe, layers), 1):
        name, bits, group_size = f"{DIT_PREFIX}{layer}.weight", old[layer].bits, old[layer].group_size
        tensor = model.checkpoint.tensors[name]
        codes = compensate(tensor.numpy().astype(np.float16), bits, group_size, gram)
        found[name] = from_quantized(tensor, partial(Quantized, *codes), bits, group_size)
        if progress:
            progress(done, len(layers))
    model.engine.free("dit")
    return found


def _layer_of(name: str) -> str:
    return name.removeprefix(DIT_PREFIX).removesuffix(".weight")


def _sums(engine: Engine, probe: Trajectory, layers: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """Run the model along the probe's path; yield each layer with the products of its inputs summed up, (in, in)."""
    input_hooks = import_module(f"soundloom.engines.{engine.name}.hooks").input_hooks
    sums: dict[str, Array] = {}

    def hear(layer: str, x: np.ndarray) -> None:
        sums[layer] = sums.get(layer, 0) + x.T @ x

    for start in range(0, len(layers), _AT_ONCE):
        with input_hooks(engine, layers[start : start + _AT_ONCE], hear):
            probe.velocities(engine)
        while sums:
            yield sums.popitem()


def compensate(weight: Array, bits: int, group_size: int, gram: Array) -> Quantized:
    """Quantize a weight (out, in), float16, for inputs whose products sum up to `gram` (in, in)."""
    rest, root = weight.astype(np.float32), _inverse_root(gram)
    codes = np.empty(weight.shape, np.uint32)
    scales, biases = (np.empty((len(weight), weight.shape[1] // group_size), np.float16) for _ in range(2))
    for place, start in enumerate(range(0, weight.shape[1], group_size)):
        span = slice(start, start + group_size)
        scales[:, place], biases[:, place] = fit_scale_bias(rest[:, span], 2**bits - 1)
        scale, bias = scales[:, place], biases[:, place]
        errors = np.empty((len(weight), group_size), np.float32)
        for i in range(start, start + group_size):
            column = rest[:, i]
            codes[:, i] = np.rint((column - bias) / scale).clip(0, 2**bits - 1)
            value = codes[:, i].astype(np.float16) * scale + bias  # as `dequantize` computes it
            errors[:, i - start] = (column - value) / root[i, i]
            rest[:, i + 1 : span.stop] -= np.outer(errors[:, i - start], root[i, i + 1 : span.stop])
        rest[:, span.stop :] -= errors @ root[span, span.stop :]
    return Quantized(pack(codes, bits), scales, biases)


def _inverse_root(gram: Array) -> Array:
    """Return the upper triangle U, float32, with U.T @ U the inverse of the damped sums."""
    damped = gram.astype(np.float64)
    damped[np.diag_indices(len(damped))] += _DAMPING * damped.trace() / len(damped) + np.finfo(np.float32).tiny
    return np.ascontiguousarray(np.linalg.cholesky(np.linalg.inv(damped)).T, np.float32)
