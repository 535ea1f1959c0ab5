"""The interface of engines that run MusicGen. All arrays are NumPy arrays.

Letters for axes: b clips, l text tokens, n samples, q codebooks, t frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from soundloom.autoregressive.generation import Decoder
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, ENCODEC_PREFIX, LM_PREFIX, T5_PREFIX
from soundloom.engines.base import BaseEngine, ComponentSource

MusicComponent = Literal["text", "codec", "lm", "adapter"]
_PREFIXES = {"text": T5_PREFIX, "codec": ENCODEC_PREFIX, "lm": LM_PREFIX, "adapter": ADAPTER_PREFIX}


@dataclass(frozen=True)
class TextEmbeddings:
    """The text encoder's output: embeddings (b, l, width) and mask (b, l), True at valid tokens."""

    hidden: np.ndarray
    mask: np.ndarray


class MusicEngine(BaseEngine[MusicComponent], Protocol):
    """The networks of one MusicGen checkpoint on one device."""

    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> TextEmbeddings:
        """Return the embeddings of token ids and mask (b, l)."""

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Return tokens (b, q, t) of mono audio (b, 1, n)."""

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Return mono audio (b, 1, n) of tokens (b, q, t)."""

    def decoder(
        self,
        text: TextEmbeddings,
        capacity: int,
        guided: bool,
        source: np.ndarray | None = None,
        mask_padding: bool = True,
    ) -> Decoder:
        """Return the decoder of a batch, with a KV cache for `capacity` positions.

        `source` has the tokens (b, q, t) that the clips are edits of. Without `mask_padding`, as in the published code,
        prompts of different lengths in a batch affect each other's result.
        """


def find_component(checkpoint: MusicGenCheckpoint, component: MusicComponent) -> ComponentSource:
    """Return the source of a component."""
    config = checkpoint.config
    configs = {"text": config.t5, "codec": config.encodec, "lm": config.lm, "adapter": config.instruct}
    names = {"text": "text encoder", "codec": "codec", "lm": "language model", "adapter": "adapter"}
    tensors = checkpoint.component(_PREFIXES[component])
    return ComponentSource(configs[component], tensors, f"{checkpoint.name}'s {names[component]}")
