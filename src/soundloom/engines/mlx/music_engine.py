"""MusicGen on MLX: loads the networks of a checkpoint on one device and runs them for the pipeline."""

from __future__ import annotations

import gc
import os
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.autoregressive.generation import Decoder
from soundloom.checkpoints.musicgen_open import MusicGenCheckpoint
from soundloom.engines.mlx.decoding import Decoding
from soundloom.engines.mlx.encodec import Encodec
from soundloom.engines.mlx.engine import CACHE_BYTES, PRECISIONS, choose_device
from soundloom.engines.mlx.instruct import CPTransformer
from soundloom.engines.mlx.load import load_module, named_parameters
from soundloom.engines.mlx.musicgen import MusicGenLM
from soundloom.engines.mlx.t5 import T5Encoder
from soundloom.engines.music import MusicComponent, Reading, find_component
from soundloom.errors import EngineError


class MLXMusicEngine:
    """See `engines.music.MusicEngine`. `precision` is that of the language model and its adapter; the rest is exact."""

    name = "mlx"

    def __init__(self, checkpoint: MusicGenCheckpoint, device: str | None = None, precision: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.device = choose_device(device)
        self.precision = ("fp32" if self.device == "cpu" else "fp16") if precision == "auto" else precision
        if self.precision not in PRECISIONS:
            raise EngineError(f"no precision named {precision!r}", f"known: auto, {', '.join(PRECISIONS)}")
        # Newer GPUs multiply float32 with 10 bits of mantissa unless told; MLX reads this at its first product.
        os.environ.setdefault("MLX_ENABLE_TF32", "0")
        self._modules: dict[MusicComponent, nn.Module] = {}

    def describe(self) -> dict[str, str]:
        device = mx.gpu if self.device == "gpu" else mx.cpu
        return {
            "engine": f"mlx {version('mlx')}",
            "device": str(mx.device_info(device)["device_name"]),
            "language model": f"{self.precision}, float32 residual stream and norms",
            "text encoder": "float32",
            "codec": "float32",
            "attention": "fast.scaled_dot_product_attention over a cache of fixed size",
        }

    def _on_device(self) -> mx.StreamContext:
        """Make the engine's device MLX's default one for a block, whatever the rest of the process uses."""
        return mx.stream(mx.cpu if self.device == "cpu" else mx.gpu)

    def load(self, component: MusicComponent) -> None:
        if component not in self._modules:
            with self._on_device():
                self._modules[component] = self._build(component)

    def free(self, *components: MusicComponent) -> None:
        for component in components:
            self._modules.pop(component, None)
        gc.collect()
        mx.set_cache_limit(CACHE_BYTES)
        mx.clear_cache()

    def weight_bytes(self, component: MusicComponent) -> int:
        return sum(array.nbytes for array in named_parameters(self._module(component)).values())

    def _module(self, component: MusicComponent) -> Any:
        self.load(component)
        return self._modules[component]

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

    def read(self, ids: np.ndarray, mask: np.ndarray) -> Reading:
        with self._on_device():
            hidden = self._module("text")(mx.array(ids), mx.array(mask))
            return Reading(np.array(hidden.astype(mx.float32)), mask)

    def encode(self, audio: np.ndarray) -> np.ndarray:
        with self._on_device():
            return np.array(self._module("codec").encode(mx.array(audio)))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        with self._on_device():
            return np.array(self._module("codec").decode(mx.array(codes)))

    def decoder(
        self,
        reading: Reading,
        positions: int,
        guided: bool,
        source: np.ndarray | None = None,
        mask_padding: bool = True,
    ) -> Decoder:
        with self._on_device():
            lm = self._module("lm")
            prefixes = None if source is None else self._module("adapter")(lm, mx.array(source))
            text = lm.read(mx.array(reading.hidden), mx.array(reading.mask), mask_padding)
            decoding = Decoding(lm, text, positions, guided, prefixes)

        def decode(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            with self._on_device():
                return decoding(tokens)

        return decode

    def reset_peak(self) -> None:
        mx.reset_peak_memory()

    def peak_memory(self) -> int | None:
        return None if self.device == "cpu" else mx.get_peak_memory()
