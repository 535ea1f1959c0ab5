"""What the pipeline asks of an engine that runs MusicGen. All arrays are NumPy's.

Letters for axes: b clips, l text tokens, n samples, q codebooks, t frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from soundloom.autoregressive.generation import Decoder
from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, ENCODEC_PREFIX, LM_PREFIX, T5_PREFIX

MusicComponent = Literal["text", "codec", "lm", "adapter"]
_PREFIXES = {"text": T5_PREFIX, "codec": ENCODEC_PREFIX, "lm": LM_PREFIX, "adapter": ADAPTER_PREFIX}


@dataclass(frozen=True)
class TextEmbeddings:
    """Prompts as the language model hears them: embeddings (b, l, width) and mask (b, l), True at real tokens."""

    hidden: np.ndarray
    mask: np.ndarray


class MusicEngine(Protocol):
    """The networks of one MusicGen checkpoint on one device. Components load when first used and leave with `free`."""

    name: str
    device: str
    precision: str

    def describe(self) -> dict[str, str]:
        """Say which attention path, precision and device are in use."""
        ...

    def load(self, component: MusicComponent) -> None:
        """Read a component now rather than when it is first used."""
        ...

    def free(self, *components: MusicComponent) -> None:
        """Drop components and give their memory back."""
        ...

    def weight_bytes(self, component: MusicComponent) -> int:
        """Return what the weights of a component take in memory, packed ones as packed."""
        ...

    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> TextEmbeddings:
        """Return the embeddings of token ids and mask (b, l)."""
        ...

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Return codes (b, q, t) of mono audio (b, 1, n)."""
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return mono audio (b, 1, n) of codes (b, q, t)."""
        ...

    def decoder(
        self,
        reading: TextEmbeddings,
        positions: int,
        guided: bool,
        source: np.ndarray | None = None,
        mask_padding: bool = True,
    ) -> Decoder:
        """Return what makes the next tokens of a batch, with room for so many positions.

        `source` are the codes (b, q, t) that the clips are edits of. With `mask_padding` prompts of different length
        do not change each other's result; the published code lets them.
        """
        ...

    def reset_peak(self) -> None:
        """Start measuring `peak_memory` anew."""
        ...

    def peak_memory(self) -> int | None:
        """Return the largest device memory in bytes since `reset_peak`, None where only the host has memory."""
        ...


def find_component(checkpoint: MusicGenCheckpoint, component: MusicComponent) -> tuple[Any, Tensors, str]:
    """Return a component's configuration, its tensors by module name, and its name in messages."""
    config = checkpoint.config
    configs = {"text": config.t5, "codec": config.encodec, "lm": config.lm, "adapter": config.instruct}
    names = {"text": "text encoder", "codec": "codec", "lm": "language model", "adapter": "adapter"}
    tensors = checkpoint.component(_PREFIXES[component])
    return configs[component], tensors, f"{checkpoint.name}'s {names[component]}"
