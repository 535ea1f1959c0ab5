"""Toy weights and adapters of every type, for tests that need no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np

from soundloom.checkpoints.formats.tensors import LazyTensor, from_array
from soundloom.config.catalogue import published_config
from soundloom.config.stable_audio.model import DiTConfig, ModelConfig, parse_model_config
from soundloom.lora.adapter import Adapter, AdapterType, ModuleAdapter, is_xs, kinds_of
from soundloom.lora.bases import compute_bases
from soundloom.lora.modules import matrix_shape, module_shapes
from soundloom.testing.stable_audio import tiny_config

SOME = ("model.preprocess_conv", "model.transformer.layers.0.self_attn.to_qkv", "model.transformer.layers.1.ff.ff.2")


@cache
def tiny(model: str = "small-music") -> ModelConfig:
    config = tiny_config(parse_model_config(published_config(model)))
    assert isinstance(config, ModelConfig)
    return config


def make_weights(seed: int = 0, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, LazyTensor]:
    """Return random weights by names as in adapter files, whose rows and columns differ in size."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in (shapes or module_shapes(tiny())).items():
        row_sizes = np.exp(0.5 * rng.standard_normal((shape[0], *[1] * (len(shape) - 1))))
        sizes = row_sizes * np.exp(0.5 * rng.standard_normal(shape[1:]))
        weights[name] = from_array(name, (sizes * rng.standard_normal(shape)).astype(np.float32) / 8)
    return weights


def make_adapter(
    adapter_type: AdapterType,
    weights: Mapping[str, LazyTensor],
    *,
    names: Iterable[str] = SOME,
    rank: int = 3,
    alpha: float = 4.0,
    seed: int = 1,
    size: float = 0.3,
    own_bases: bool = True,
    **config: object,
) -> Adapter:
    """Return an adapter with random factors; `size` is about that of its change relative to the weights."""
    rng = np.random.default_rng(seed)
    modules = {}
    for name in names:
        weight = np.asarray(weights[name].numpy(), np.float32).reshape(weights[name].shape[0], -1)
        modules[name] = _module(name, adapter_type, weight, rank, alpha, rng, size, own_bases)
    stored = {"rank": rank, "alpha": alpha, "adapter_type": adapter_type, "include": None, "exclude": None, **config}
    return Adapter(f"made-{adapter_type}", adapter_type, rank, alpha, modules, stored)


def _module(
    name: str,
    adapter_type: AdapterType,
    weight: np.ndarray,
    rank: int,
    alpha: float,
    rng: np.random.Generator,
    size: float,
    own_bases: bool,
) -> ModuleAdapter:
    outs, ins = weight.shape
    scale = alpha / rank
    per_entry = size * float(np.linalg.norm(weight)) / np.sqrt(outs * ins * rank) / scale

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def near(norms: np.ndarray) -> np.ndarray:
        return norms * (1 + 0.2 * size * noise(*norms.shape))

    found = {
        "lora_A": lambda: noise(rank, ins),
        "lora_B": lambda: per_entry * noise(outs, rank),
        "M_xs": lambda: size * float(np.linalg.norm(weight)) / rank / scale * noise(rank, rank),
        "magnitude": lambda: near(np.linalg.norm(weight, axis=1 if adapter_type.startswith("dora-rows") else 0)),
        "magnitude_r": lambda: near(np.linalg.norm(weight, axis=1)),
        "magnitude_c": lambda: near(np.linalg.norm(weight, axis=0)),
    }
    arrays = {kind: found[kind]() for kind in kinds_of(adapter_type)}
    if is_xs(adapter_type) and own_bases:
        u, _, v = compute_bases(weight)
        arrays |= {"U": u[:, :rank], "V": v[:, :rank]}
    tensors = {kind: from_array(kind, np.ascontiguousarray(array)) for kind, array in arrays.items()}
    return ModuleAdapter(name, adapter_type, rank, scale, tensors)


def change(module: ModuleAdapter) -> np.ndarray:
    """Return scale * up @ down."""
    down, up = module.factors()
    return module.scale * (up @ down)


def adapted(weight: np.ndarray, module: ModuleAdapter) -> np.ndarray:
    """Return a weight as a module at strength 1 adapts it, in float64: section by section of the definition."""
    matrix = weight.astype(np.float64).reshape(matrix_shape(weight.shape)) + change(module)
    if module.rows is not None:
        matrix = module.rows[:, None] * matrix / (np.linalg.norm(matrix, axis=1, keepdims=True) + 1e-12)
    if module.cols is not None:
        matrix = module.cols[None] * matrix / (np.linalg.norm(matrix, axis=0, keepdims=True) + 1e-12)
    return matrix.reshape(weight.shape)


def make_dit(**sizes: int) -> DiTConfig:
    """Return the configuration of a tiny transformer with other sizes."""
    from dataclasses import replace

    return replace(tiny().dit, **sizes)
