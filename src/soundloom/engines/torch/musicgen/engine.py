"""The PyTorch engine of MusicGen."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from soundloom.checkpoints.formats.tensors import Tensors, evict_tensor
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.config.musicgen.model import InstructConfig
from soundloom.engines.musicgen import MusicComponent, TextEmbeddings, find_component
from soundloom.engines.threads import describe_threads
from soundloom.engines.torch.components import ComponentEngine
from soundloom.engines.torch.inference import inference_mode
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.memory import malloc_trim
from soundloom.engines.torch.musicgen.adapter import CPTransformer
from soundloom.engines.torch.musicgen.encodec import Encodec
from soundloom.engines.torch.musicgen.kv_cache import DecoderState
from soundloom.engines.torch.musicgen.lm import MusicGenLM
from soundloom.engines.torch.musicgen.t5 import T5Encoder
from soundloom.engines.torch.precision import MOST_EXACT, Precision, native_matmul_precisions
from soundloom.engines.torch.prepack import prepack


class TorchMusicEngine(ComponentEngine[MusicComponent]):
    """A `MusicEngine`; `precision` is that of the language model and adapter, everything else is float32."""

    name = "torch"

    def __init__(self, checkpoint: MusicGenCheckpoint, device: str | None = None, precision: str = "auto") -> None:
        super().__init__(device)
        self.checkpoint = checkpoint
        self._precision = Precision.choose(precision, self.device, checkpoint.config.lm.hidden_size, MOST_EXACT)
        self.precision = self._precision.name

    def describe(self) -> dict[str, str]:
        return {
            "engine": f"torch {torch.__version__}",
            "device": self.device_name,
            "threads": describe_threads(),
            "native matmuls": ", ".join(native_matmul_precisions()) if self.device == "cpu" else "of the device",
            "language model": f"{self.precision}, float32 residual stream and norms",
            "text encoder": "float32",
            "codec": "float32",
            "attention": "scaled_dot_product_attention over a preallocated KV cache",
        }

    def _build(self, component: MusicComponent) -> nn.Module:
        source = find_component(self.checkpoint, component)
        config, tensors, label = source.config, source.tensors, source.label
        if component == "text":
            # A prompt reads a few rows of the embedding table: it stays memory-mapped in the dtype of its file.
            return load_module(lambda: T5Encoder(config), tensors, label, self.device, keep=("shared.weight",))
        if component == "codec":
            return load_module(lambda: Encodec(config), tensors, label, self.device)
        dtype, blocks = self._precision.dtype, self._precision.blocks
        if component == "lm":
            lm = load_module(lambda: MusicGenLM(config), tensors, label, self.device, dtype, blocks=blocks)
            lm.widen_norms()
            prepack(lm, lambda path: evict_tensor(tensors[f"{path}.weight"]))
            malloc_trim()
            return lm
        return self._build_adapter(config, tensors, label)

    def _build_adapter(self, config: InstructConfig, tensors: Tensors, label: str) -> CPTransformer:
        """Build the adapter; next to a packed language model, its layers are evicted after each use."""
        sizes, dtype = self.checkpoint.config.lm, self._precision.dtype
        if self.device != "cpu" or not self.checkpoint.is_packed:
            return load_module(lambda: CPTransformer(sizes, config), tensors, label, self.device, dtype)
        adapter = load_module(
            lambda: CPTransformer(sizes, config), tensors, label, dtype=dtype, keep=("pos_emb",), as_stored=True
        )
        for index, layer in enumerate(adapter.merge_linear):
            weight = tensors[f"merge_linear.{index}.weight"]
            layer.register_forward_hook(lambda *_, weight=weight: evict_tensor(weight))
        adapter.register_forward_hook(lambda *_: evict_tensor(tensors["pos_emb"]))
        return adapter

    @inference_mode
    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> TextEmbeddings:
        return TextEmbeddings(self.numpy(self.module("text")(self.array(ids), self.array(mask))), mask)

    @inference_mode
    def encode(self, audio: np.ndarray) -> np.ndarray:
        return self.numpy(self.module("codec").encode(self.array(audio)))

    @inference_mode
    def decode(self, tokens: np.ndarray) -> np.ndarray:
        return self.numpy(self.module("codec").decode(self.array(tokens)))

    @inference_mode
    def decoder(
        self,
        text: TextEmbeddings,
        capacity: int,
        guided: bool,
        source: np.ndarray | None = None,
        mask_padding: bool = True,
    ) -> DecoderState:
        lm = self.module("lm")
        adapter_kv = None if source is None else self.module("adapter")(lm, self.array(source))
        malloc_trim()  # the adapter's temporaries, before the caches are allocated
        cond = lm.condition(self.array(text.hidden), self.array(text.mask), mask_padding)
        return DecoderState(lm, cond, capacity, guided, adapter_kv)
