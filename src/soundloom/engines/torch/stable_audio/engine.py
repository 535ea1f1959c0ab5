"""The PyTorch engine: loads the networks of a checkpoint on one device and runs them for the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.components import find_component
from soundloom.engines.stable_audio import Component, NoiseFn
from soundloom.engines.torch.blocks import Padding
from soundloom.engines.torch.components import ComponentEngine
from soundloom.engines.torch.cuda_graphs import GraphCache
from soundloom.engines.torch.flex_attention import HAS_COMPILER
from soundloom.engines.torch.inference import inference_mode
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.precision import Precision, has_amx, has_bf16, native_products
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import Conditioning, DiT
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder


class TorchEngine(ComponentEngine[Component]):
    """See `engines.base.Engine`. `precision` is that of the transformer.

    On CPUs the text encoder and the products of the autoencoder follow it to BF16 where that is native; elsewhere the
    autoencoder has float32 throughout, as its attention has everywhere.
    """

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, device: str | None = None, precision: str = "auto") -> None:
        super().__init__(device)
        self.checkpoint = checkpoint
        config = checkpoint.config
        # An autoencoder alone is asked for latents, which others compute with: it stays exact unless told otherwise.
        width = config.dit.embed_dim if isinstance(config, ModelConfig) else 0
        self._precision = Precision.choose(precision, self.device, width)
        self.precision = self._precision.name
        self.graphs: GraphCache | None = GraphCache() if self.device.startswith("cuda") else None

    def describe(self) -> dict[str, str]:
        tiles = ", in bf16 where the transformer subtracts nothing" if self._attends_in_bf16 else ""
        return {
            "engine": f"torch {torch.__version__}",
            "device": self.device_name,
            "threads": str(torch.get_num_threads()),
            "native products": ", ".join(native_products()) if self.device == "cpu" else "of the device",
            "transformer": f"{self.precision}, float32 residual stream, norms and rotations",
            "text encoder": str(self._text_dtype).removeprefix("torch."),
            "autoencoder": "bf16 products around float32 attention" if self._lean else "float32",
            "attention": f"scaled_dot_product_attention{tiles}; sliding windows {self._windows}, exact",
        }

    @property
    def _windows(self) -> str:
        fused = self.device.startswith("cuda") and HAS_COMPILER
        return "by FlexAttention" if fused else "in blocks with a halo"

    @property
    def _text_dtype(self) -> torch.dtype:
        return torch.float32 if self.device == "cpu" and not self._lean else torch.bfloat16

    @property
    def _lean(self) -> bool:
        """Whether the networks around the transformer multiply in BF16, on a CPU."""
        return self.device == "cpu" and self.precision in ("bf16", "int8") and has_bf16()

    @property
    def _attends_in_bf16(self) -> bool:
        """Whether self-attention of the transformer gains from BF16, on a CPU."""
        return self._lean and has_amx()

    def free(self, *components: Component) -> None:
        if self.graphs is not None and any(component in self._modules for component in components):
            self.graphs.clear()  # recordings hold the weights they were made with
        super().free(*components)

    def _build(self, component: Component) -> nn.Module:
        part = find_component(self.checkpoint, component)
        if component == "text":
            # The table of 256000 rows keeps its dtype and stays mapped: a prompt reads a few rows of it.
            build, keep = (lambda: T5GemmaEncoder(part.config)), ("embed_tokens.weight",)
            return load_module(build, part.tensors, part.what, self.device, self._text_dtype, keep)
        if component == "dit":
            dtype, blocks = self._precision.dtype, self._precision.blocks
            dit = load_module(lambda: DiT(part.config), part.tensors, part.what, self.device, dtype, blocks=blocks)
            if self._attends_in_bf16:
                dit.attend_in(torch.bfloat16)
            return dit
        if component == "conditioner":
            return load_module(lambda: Conditioner(part.config), part.tensors, part.what, self.device)
        blocks = torch.bfloat16 if self._lean else None
        return load_module(lambda: SAME(part.config, (component,)), part.tensors, part.what, self.device, blocks=blocks)

    @inference_mode
    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> Tensor:
        inputs = {"ids": self.array(ids), "mask": self.array(mask)}

        def program(arrays: Mapping[str, Tensor]) -> tuple[Tensor]:
            return (self.module("text")(arrays["ids"], arrays["mask"]).float(),)

        if self.graphs is None:
            return program(inputs)[0]
        return self.graphs(("text", ids.shape), program, inputs)[0].clone()

    @inference_mode
    def embed(self, text: Tensor, mask: np.ndarray, seconds: np.ndarray) -> tuple[Tensor, Tensor]:
        context, duration = self.module("conditioner")(text, self.array(mask), self.array(seconds))
        return context, duration

    @inference_mode
    def condition(
        self, context: Tensor, duration: Tensor, local: Tensor, repeats: int = 1, times: Sequence[float] = ()
    ) -> Conditioning:
        return self.module("dit").condition(context, duration, local, repeats, times)

    @inference_mode
    def velocity(
        self, x: Tensor, t: Any, condition: Conditioning, valid: np.ndarray | None, zero_values: bool = False
    ) -> Tensor:
        padding = None
        if valid is not None:
            padding = Padding(self.array(valid), "zero-values" if zero_values else "mask")
        return self.module("dit")(x, t if isinstance(t, float) else t.flatten(), condition, padding)

    @inference_mode
    def encode(self, audio: np.ndarray, draw: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("encoder").encode(self.array(audio), self._lift(draw)))

    @inference_mode
    def decode(self, latents: np.ndarray, draw: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("decoder").decode(self.array(latents), self._lift(draw)))

    @inference_mode
    def decode_array(self, latents: Tensor) -> Tensor:
        return self.module("decoder").decode(latents, None)

    def _lift(self, draw: NoiseFn | None) -> Callable[[Sequence[int]], Tensor] | None:
        return None if draw is None else lambda shape: self.array(draw(tuple(shape)))

    def array(self, value: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(value)).to(self.device)

    def numpy(self, value: Tensor) -> np.ndarray:
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        return torch.cat(list(parts), dim=axis)

    def evaluate(self, x: Tensor) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
