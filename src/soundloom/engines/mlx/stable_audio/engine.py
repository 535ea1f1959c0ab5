"""The MLX engine of Stable Audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.engines.mlx.blocks import Padding
from soundloom.engines.mlx.branch_slots import BranchSlots
from soundloom.engines.mlx.components import PRECISIONS, ComponentEngine, on_device
from soundloom.engines.mlx.load import load_module
from soundloom.engines.mlx.stable_audio.conditioner import Conditioner
from soundloom.engines.mlx.stable_audio.dit import Conditioning, DiT
from soundloom.engines.mlx.stable_audio.same import SAME
from soundloom.engines.mlx.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.engines.stable_audio import Component, NoiseFn, find_component
from soundloom.lora.branches import Branches


class MLXEngine(ComponentEngine[Component]):
    """An `Engine`; `precision` is that of the transformer, the autoencoder is always float32."""

    name = "mlx"

    graphs = None  # MLX builds a lazy graph for each step

    def __init__(self, checkpoint: Checkpoint, device: str | None = None, precision: str = "auto") -> None:
        super().__init__(device, precision)
        self.checkpoint = checkpoint
        self._adapters = BranchSlots()

    def describe(self) -> dict[str, str]:
        return {
            "engine": f"mlx {version('mlx')}",
            "device": self.device_name,
            "transformer": f"{self.precision}, float32 residual stream, norms and rotary embeddings",
            "text encoder": str(self._text_dtype).removeprefix("mlx.core."),
            "autoencoder": "float32",
            "attention": "fast.scaled_dot_product_attention; sliding windows in blocks with a halo, exact",
        }

    @property
    def _text_dtype(self) -> mx.Dtype:
        return mx.float32 if self.device == "cpu" else mx.float16

    def _build(self, component: Component) -> nn.Module:
        source = find_component(self.checkpoint, component)
        config, tensors, label = source.config, source.tensors, source.label
        if component == "text":
            # A prompt reads a few of 256000 rows of the embedding table: it stays in its file's dtype.
            build, keep = (lambda: T5GemmaEncoder(config)), ("embed_tokens.weight",)
            return load_module(build, tensors, label, self._text_dtype, keep)
        if component == "dit":
            dtype = PRECISIONS[self.precision]
            return load_module(lambda: DiT(config), tensors, label, dtype)
        if component == "conditioner":
            return load_module(lambda: Conditioner(config), tensors, label)
        return load_module(lambda: SAME(config, (component,)), tensors, label)

    def free(self, *components: Component) -> None:
        for component in components:
            self._adapters.forget(component)
        super().free(*components)

    @on_device
    def load(self, component: Component) -> None:
        if component not in self._modules:
            super().load(component)
            self._adapters.install(component, self._modules[component])

    @on_device
    def load_branches(self, slots: Sequence[Branches | None]) -> None:
        self._adapters.load(slots, self._modules)

    @on_device
    def use_branches(self, slot: int | None) -> None:
        self._adapters.use(slot, self._modules)

    @on_device
    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> mx.array:
        return self.module("text")(self.array(ids), self.array(mask)).astype(mx.float32)

    @on_device
    def embed(self, text: mx.array, mask: np.ndarray, seconds: np.ndarray) -> tuple[mx.array, mx.array]:
        context, duration = self.module("conditioner")(text, self.array(mask), self.array(seconds))
        return context, duration

    @on_device
    def condition(
        self, context: mx.array, duration: mx.array, local_cond: mx.array, repeats: int = 1, times: Sequence[float] = ()
    ) -> Conditioning:
        return self.module("dit").condition(context, duration, local_cond, repeats, times)

    @on_device
    def velocity(
        self, x: mx.array, t: float | mx.array, cond: Conditioning, valid: np.ndarray | None, zero_values: bool = False
    ) -> mx.array:
        padding = None
        if valid is not None:
            padding = Padding(self.array(valid), "zero-values" if zero_values else "mask")
        return self.module("dit")(x, t if isinstance(t, float) else t.flatten(), cond, padding)

    @on_device
    def encode(self, audio: np.ndarray, noise_fn: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("encoder").encode(self.array(audio), self._noise(noise_fn)))

    @on_device
    def decode(self, latents: np.ndarray, noise_fn: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("decoder").decode(self.array(latents), self._noise(noise_fn)))

    @on_device
    def decode_array(self, latents: mx.array) -> mx.array:
        return self.module("decoder").decode(latents, None)

    def _noise(self, noise_fn: NoiseFn | None) -> Callable[[Sequence[int]], mx.array] | None:
        return None if noise_fn is None else lambda shape: self.array(noise_fn(tuple(shape)))

    @on_device
    def concatenate(self, parts: Sequence[mx.array], axis: int = 0) -> mx.array:
        return mx.concatenate(list(parts), axis=axis)

    @on_device
    def evaluate(self, x: mx.array) -> None:
        mx.eval(x)
