"""MusicGen on MLX: loads the networks of a checkpoint on one device and runs them for the pipeline."""

from __future__ import annotations

from importlib.metadata import version

import mlx.core as mx
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
    """See `engines.music.MusicEngine`. `precision` is that of the language model and its adapter; the rest is exact."""

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
            "attention": "fast.scaled_dot_product_attention over a cache of fixed size",
        }

    def _build(self, component: MusicComponent) -> nn.Module:
        config, tensors, what = find_component(self.checkpoint, component)
        if component == "text":
            # Of its table only the rows of a prompt are read: it keeps its dtype.
            return load_module(lambda: T5Encoder(config), tensors, what, keep=("shared.weight",))
        if component == "codec":
            return load_module(lambda: Encodec(config), tensors, what)
        dtype = PRECISIONS[self.precision]
        if component == "lm":
            return load_module(lambda: MusicGenLM(config), tensors, what, dtype)
        lm = self.checkpoint.config.lm
        return load_module(lambda: CPTransformer(lm, config), tensors, what, dtype)

    @on_device
    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> TextEmbeddings:
        hidden = self.module("text")(mx.array(ids), mx.array(mask))
        return TextEmbeddings(np.array(hidden.astype(mx.float32)), mask)

    @on_device
    def encode(self, audio: np.ndarray) -> np.ndarray:
        return np.array(self.module("codec").encode(mx.array(audio)))

    @on_device
    def decode(self, codes: np.ndarray) -> np.ndarray:
        return np.array(self.module("codec").decode(mx.array(codes)))

    @on_device
    def decoder(
        self,
        reading: TextEmbeddings,
        positions: int,
        guided: bool,
        source: np.ndarray | None = None,
        mask_padding: bool = True,
    ) -> Decoder:
        lm = self.module("lm")
        adapter_kv = None if source is None else self.module("adapter")(lm, mx.array(source))
        text = lm.condition(mx.array(reading.hidden), mx.array(reading.mask), mask_padding)
        decoding = DecoderState(lm, text, positions, guided, adapter_kv)
        return lambda tokens: self._step(decoding, tokens)

    @on_device
    def _step(self, decoding: DecoderState, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return decoding(tokens)
