"""The PyTorch engine of Stable Audio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.stable_audio import Component, NoiseFn, find_component
from soundloom.engines.threads import describe_threads
from soundloom.engines.torch.blocks import Padding
from soundloom.engines.torch.branch_slots import BranchSlots
from soundloom.engines.torch.components import ComponentEngine
from soundloom.engines.torch.cuda_graphs import GraphCache
from soundloom.engines.torch.flex_attention import HAS_COMPILER
from soundloom.engines.torch.inference import inference_mode
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.precision import Precision, has_amx, has_bf16, native_matmul_precisions
from soundloom.engines.torch.prepared import PreparedWeights
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import Conditioning, DiT
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.lora.branches import Branches


class TorchEngine(ComponentEngine[Component]):
    """An `Engine`; `precision` is that of the transformer.

    On CPUs with native BF16, a BF16 or INT8 transformer brings the text encoder and the matmuls of the autoencoder to
    BF16 too. Otherwise the autoencoder is float32; its attention always is.
    """

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, device: str | None = None, precision: str = "auto") -> None:
        super().__init__(device)
        self.checkpoint = checkpoint
        config = checkpoint.config
        # Latents of a standalone autoencoder are inputs of other programs, so its default is FP32.
        width = config.dit.embed_dim if isinstance(config, ModelConfig) else 0
        self._precision = Precision.choose(precision, self.device, width)
        self.precision = self._precision.name
        self.graphs: GraphCache | None = GraphCache() if self.device.startswith("cuda") else None
        self._adapters = BranchSlots()

    def describe(self) -> dict[str, str]:
        dtype = ", in bf16 unless differential" if self._attends_in_bf16 else ""
        return {
            "engine": f"torch {torch.__version__}",
            "device": self.device_name,
            "threads": describe_threads(),
            "native matmuls": ", ".join(native_matmul_precisions()) if self.device == "cpu" else "of the device",
            "transformer": f"{self.precision}, float32 residual stream, norms and rotary embeddings",
            "text encoder": str(self._text_dtype).removeprefix("torch."),
            "autoencoder": "bf16 matmuls, float32 attention" if self._uses_bf16 else "float32",
            "attention": f"scaled_dot_product_attention{dtype}; sliding windows {self._windows}, exact",
        }

    @property
    def _windows(self) -> str:
        fused = self.device.startswith("cuda") and HAS_COMPILER
        return "by FlexAttention" if fused else "in blocks with a halo"

    @property
    def _text_dtype(self) -> torch.dtype:
        return torch.float32 if self.device == "cpu" and not self._uses_bf16 else torch.bfloat16

    @property
    def _uses_bf16(self) -> bool:
        """Whether the networks around the transformer multiply in BF16 on a CPU."""
        return self.device == "cpu" and self.precision in ("bf16", "int8") and has_bf16()

    @property
    def _attends_in_bf16(self) -> bool:
        """Whether self-attention of the transformer is faster in BF16 on a CPU."""
        return self._uses_bf16 and has_amx()

    def free(self, *components: Component) -> None:
        if self.graphs is not None and any(component in self._modules for component in components):
            self.graphs.clear()  # graphs hold references to weights
        for component in components:
            self._adapters.forget(component)
        super().free(*components)

    def load(self, component: Component) -> None:
        if component not in self._modules:
            super().load(component)
            self._adapters.install(component, self._modules[component])

    @inference_mode
    def load_branches(self, slots: Sequence[Branches | None]) -> None:
        stayed = self._adapters.load(slots, self._modules)
        if self.graphs is not None and not stayed:
            self.graphs.clear()  # graphs read branches at their addresses

    @inference_mode
    def use_branches(self, slot: int | None) -> None:
        self._adapters.use(slot, self._modules)

    def _build(self, component: Component) -> nn.Module:
        source = find_component(self.checkpoint, component)
        config, tensors, label = source.config, source.tensors, source.label
        # On a CPU, where weights are prepared, BF16 and INT8 share the networks around the transformer.
        precision = self.precision if component == "dit" else "bf16" if self._uses_bf16 else "fp32"
        files = self.checkpoint.files
        prepared = PreparedWeights(f"{component}-{precision}", files, self.checkpoint.fingerprint) if files else None
        if component == "text":
            # A prompt reads a few of 256000 rows of the embedding table: it stays memory-mapped in its file's dtype.
            build, keep = (lambda: T5GemmaEncoder(config)), ("embed_tokens.weight",)
            return load_module(build, tensors, label, self.device, self._text_dtype, keep, prepared=prepared)
        if component == "dit":
            dtype, blocks = self._precision.dtype, self._precision.blocks
            dit = load_module(lambda: DiT(config), tensors, label, self.device, dtype, blocks=blocks, prepared=prepared)
            if self._attends_in_bf16:
                dit.attend_in(torch.bfloat16)
            return dit
        if component == "conditioner":
            return load_module(lambda: Conditioner(config), tensors, label, self.device)
        blocks = torch.bfloat16 if self._uses_bf16 else None
        build_same = partial(SAME, config, (component,))
        same = load_module(build_same, tensors, label, self.device, blocks=blocks, prepared=prepared)
        if blocks is not None:
            same.allow_inexact()
        return same

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
        self, context: Tensor, duration: Tensor, local_cond: Tensor, repeats: int = 1, times: Sequence[float] = ()
    ) -> Conditioning:
        return self.module("dit").condition(context, duration, local_cond, repeats, times)

    @inference_mode
    def velocity(
        self, x: Tensor, t: float | Tensor, cond: Conditioning, valid: np.ndarray | None, zero_values: bool = False
    ) -> Tensor:
        padding = None
        if valid is not None:
            padding = Padding(self.array(valid), "zero-values" if zero_values else "mask")
        return self.module("dit")(x, t if isinstance(t, float) else t.flatten(), cond, padding)

    @inference_mode
    def encode(self, audio: np.ndarray, noise_fn: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("encoder").encode(self.array(audio), self._noise(noise_fn)))

    @inference_mode
    def decode(self, latents: np.ndarray, noise_fn: NoiseFn | None) -> np.ndarray:
        return self.numpy(self.module("decoder").decode(self.array(latents), self._noise(noise_fn)))

    @inference_mode
    def decode_array(self, latents: Tensor) -> Tensor:
        return self.module("decoder").decode(latents, None)

    def _noise(self, noise_fn: NoiseFn | None) -> Callable[[Sequence[int]], Tensor] | None:
        return None if noise_fn is None else lambda shape: self.array(noise_fn(tuple(shape)))

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        return torch.cat(list(parts), dim=axis)

    def evaluate(self, x: Tensor) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
