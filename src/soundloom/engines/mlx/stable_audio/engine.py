"""The MLX engine: loads the networks of a checkpoint on one device and runs them for the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.engines.components import find_component
from soundloom.engines.mlx.blocks import Padding
from soundloom.engines.mlx.components import PRECISIONS, ComponentEngine, on_device
from soundloom.engines.mlx.load import load_module
from soundloom.engines.mlx.stable_audio.conditioner import Conditioner
from soundloom.engines.mlx.stable_audio.dit import Conditioning, DiT
from soundloom.engines.mlx.stable_audio.same import SAME
from soundloom.engines.mlx.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.engines.stable_audio import Component, NoiseFn


class MLXEngine(ComponentEngine[Component]):
    """See `engines.base.Engine`. `precision` is that of the transformer; the autoencoder always has float32."""

    name = "mlx"

    graphs = None  # a lazy graph is built anew for each step

    def __init__(self, checkpoint: Checkpoint, device: str | None = None, precision: str = "auto") -> None:
        super().__init__(device, precision)
        self.checkpoint = checkpoint

    def describe(self) -> dict[str, str]:
        return {
            "engine": f"mlx {version('mlx')}",
            "device": self.device_name,
            "transformer": f"{self.precision}, float32 residual stream, norms and rotations",
            "text encoder": str(self._text_dtype).removeprefix("mlx.core."),
            "autoencoder": "float32",
            "attention": "fast.scaled_dot_product_attention; sliding windows in blocks with a halo, exact",
        }

    @property
    def _text_dtype(self) -> mx.Dtype:
        return mx.float32 if self.device == "cpu" else mx.float16

    def _build(self, component: Component) -> nn.Module:
        part = find_component(self.checkpoint, component)
        if component == "text":
            # The table of 256000 rows keeps its dtype: a prompt reads a few rows of it.
            build, keep = (lambda: T5GemmaEncoder(part.config)), ("embed_tokens.weight",)
            return load_module(build, part.tensors, part.what, self._text_dtype, keep)
        if component == "dit":
            dtype = PRECISIONS[self.precision]
            return load_module(lambda: DiT(part.config), part.tensors, part.what, dtype)
        if component == "conditioner":
            return load_module(lambda: Conditioner(part.config), part.tensors, part.what)
        return load_module(lambda: SAME(part.config, (component,)), part.tensors, part.what)

    @on_device
    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> mx.array:
        return self.module("text")(self.array(ids), self.array(mask)).astype(mx.float32)

    @on_device
    def embed(self, text: mx.array, mask: np.ndarray, seconds: np.ndarray) -> tuple[mx.array, mx.array]:
        context, duration = self.module("conditioner")(text, self.array(mask), self.array(seconds))
        return context, duration

    @on_device
    def condition(
        self, context: mx.array, duration: mx.array, local: mx.array, repeats: int = 1, times: Sequence[float] = ()
    ) -> Conditioning:
        return self.module("dit").condition(context, duration, local, repeats, times)

    @on_device
    def velocity(
        self, x: mx.array, t: Any, condition: Conditioning, valid: np.ndarray | None, zero_values: bool = False
    ) -> mx.array:
        padding = None
        if valid is not None:
            padding = Padding(self.array(valid), "zero-values" if zero_values else "mask")
        return self.module("dit")(x, t if isinstance(t, float) else t.flatten(), condition, padding)

    @on_device
    def encode(self, audio: np.ndarray, draw: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("encoder").encode(self.array(audio), self._lift(draw)))

    @on_device
    def decode(self, latents: np.ndarray, draw: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("decoder").decode(self.array(latents), self._lift(draw)))

    @on_device
    def decode_array(self, latents: mx.array) -> mx.array:
        return self.module("decoder").decode(latents, None)

    def _lift(self, draw: NoiseFn | None) -> Callable[[Sequence[int]], mx.array] | None:
        return None if draw is None else lambda shape: self.array(draw(tuple(shape)))

    def array(self, value: np.ndarray) -> mx.array:
        return mx.array(value)

    @on_device
    def numpy(self, value: mx.array) -> np.ndarray:
        return np.array(value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value)

    @on_device
    def concatenate(self, parts: Sequence[mx.array], axis: int = 0) -> mx.array:
        return mx.concatenate(list(parts), axis=axis)

    @on_device
    def evaluate(self, x: mx.array) -> None:
        mx.eval(x)
