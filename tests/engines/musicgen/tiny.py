"""A MusicGen language model and adapter of tiny size with random weights, on either engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundloom.autoregressive.generation import NoiseFn, TokenRequest, count_steps, generate
from soundloom.autoregressive.positions import sinusoids
from soundloom.autoregressive.sampling import exponential_noise
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.musicgen.shapes import adapter_shapes, lm_shapes
from soundloom.config.musicgen.model import InstructConfig, LMConfig
from tests.parity.adapter import ADAPTERS

CONFIG = LMConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64, vocab_size=24, text_width=20)
STEREO = LMConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64, vocab_size=24, text_width=20,
    num_codebooks=8, audio_channels=2,
)  # fmt: skip
INSTRUCT = InstructConfig(max_frames=12)


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Return random weights: norms about 1, others large enough for every part to matter."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape).astype(np.float32) * (0.2 if len(shape) > 1 else 0.5)
        + ("norm" in name and name.endswith("weight"))
        for name, shape in shapes.items()
    }


class Tiny:
    """The language model and adapter on one engine, with NumPy inputs and outputs."""

    def __init__(self, name: str, config: LMConfig = CONFIG) -> None:
        self.engine, self.config = ADAPTERS[name](), config
        self.weights = random_weights(lm_shapes(config), seed=1)
        self.adapter_weights = random_weights(adapter_shapes(config, INSTRUCT), seed=2)
        self.files = self.engine.module("musicgen.lm")
        self.lm = self._build(lambda: self.files.MusicGenLM(config), self.weights)
        make = self.engine.module("musicgen.adapter").CPTransformer
        self.adapter = self._build(lambda: make(config, INSTRUCT), self.adapter_weights)

    def _build(self, make: Any, weights: dict[str, np.ndarray]) -> Any:
        return self.engine.build(make, {name: from_array(name, value) for name, value in weights.items()}, "tiny")

    def hidden(self, clips: int, length: int = 5, seed: int = 3) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal((clips, length, self.config.text_width), dtype=np.float32)

    def condition(self, hidden: np.ndarray, mask: np.ndarray | None = None, mask_padding: bool = False) -> Any:
        mask = np.ones(hidden.shape[:2], bool) if mask is None else mask
        return self.lm.condition(self.engine.array(hidden), self.engine.array(mask), mask_padding)

    def tokens(self, clips: int, frames: int, seed: int = 4) -> np.ndarray:
        shape = (clips, self.config.num_codebooks, frames)
        return np.random.default_rng(seed).integers(0, self.config.vocab_size, shape)

    def adapter_kv(self, tokens: np.ndarray) -> Any:
        return self.adapter(self.lm, self.engine.array(tokens))

    def decoder_state(self, request: TokenRequest, adapter_kv: Any = None) -> Any:
        capacity = count_steps(self.config, request) + request.prompt_frames
        text = self.condition(self.hidden(request.clips))
        return self.engine.module("musicgen.kv_cache").DecoderState(
            self.lm, text, capacity, request.guidance != 1, adapter_kv
        )

    def noise(self, clips: int) -> NoiseFn:
        return lambda step: exponential_noise(range(clips), step, self.config.num_codebooks, self.config.vocab_size)

    def generate(self, request: TokenRequest, decoder: Any) -> np.ndarray:
        *_, last = generate(self.config, request, decoder, self.noise(request.clips))
        return last.tokens

    def logits(self, tokens: np.ndarray, text: Any, adapter_kv: Any = None) -> np.ndarray:
        """Return the logits of all tokens (r, q, s) in one pass."""
        positions, array = np.arange(tokens.shape[-1]), self.engine.array
        table = array(sinusoids(len(positions), self.config.hidden_size))
        hidden = self.lm(array(tokens), array(positions), table, text, adapter_kv=adapter_kv)
        return self.engine.numpy(self.lm.logits(hidden))
