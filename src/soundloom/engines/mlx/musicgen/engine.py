"""The MLX engine of MusicGen."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from mlx import nn

from soundloom.autoregressive.generation import Decoder
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.engines.mlx.components import PRECISIONS, ComponentEngine, on_device
from soundloom.engines.mlx.load import load_module
from soundloom.engines.mlx.musicgen.adapter import CPTransformer
from soundloom.engines.mlx.musicgen.encodec import Encodec
from soundloom.engines.mlx.musicgen.kv_cache import DecoderState
from soundloom.engines.mlx.musicgen.lm import MusicGenLM
from soundloom.engines.mlx.musicgen.t5 import T5Encoder
from soundloom.engines.musicgen import MusicComponent, TextEmbeddings, find_component


class MLXMusicEngine(ComponentEngine[MusicComponent]):
    """A `MusicEngine`; `precision` is that of the language model and adapter, everything else is float32."""

    name = "mlx"

    def __init__(self, checkpoint: MusicGenCheckpoint, device: str | None = None, precision: str = "auto") -> None:
        super().__init__(device, precision)
        self.checkpoint = checkpoint

    def describe(self) -> dict[str, str]:
        return {
            "engine": f"mlx {version('mlx')}",
            "device": self.device_name,
            "language model": f"{self.precision}, float32 residual stream and norms",
            "text encoder": "float32",
            "codec": "float32",
            "attention": "fast.scaled_dot_product_attention over a preallocated KV cache",
        }

    def _build(self, component: MusicComponent) -> nn.Module:
        source = find_component(self.checkpoint, component)
        config, tensors, label = source.config, source.tensors, source.label
        if component == "text":
            # A prompt reads a few rows of the embedding table: it stays in the dtype of its file.
            return load_module(lambda: T5Encoder(config), tensors, label, keep=("shared.weight",))
        if component == "codec":
            return load_module(lambda: Encodec(config), tensors, label)
        dtype = PRECISIONS[self.precision]
        if component == "lm":
            return load_module(lambda: MusicGenLM(config), tensors, label, dtype)
        lm = self.checkpoint.config.lm
        return load_module(lambda: CPTransformer(lm, config), tensors, label, dtype)

    @on_device
    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> TextEmbeddings:
        return TextEmbeddings(self.numpy(self.module("text")(self.array(ids), self.array(mask))), mask)

    @on_device
    def encode(self, audio: np.ndarray) -> np.ndarray:
        return self.numpy(self.module("codec").encode(self.array(audio)))

    @on_device
    def decode(self, tokens: np.ndarray) -> np.ndarray:
        return self.numpy(self.module("codec").decode(self.array(tokens)))

    @on_device
    def decoder(
        self,
        text: TextEmbeddings,
        capacity: int,
        guided: bool,
        source: np.ndarray | None = None,
        mask_padding: bool = True,
    ) -> Decoder:
        lm = self.module("lm")
        adapter_kv = None if source is None else self.module("adapter")(lm, self.array(source))
        cond = lm.condition(self.array(text.hidden), self.array(text.mask), mask_padding)
        state = DecoderState(lm, cond, capacity, guided, adapter_kv)
        return lambda tokens: self._step(state, tokens)

    @on_device
    def _step(self, state: DecoderState, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return state(tokens)
