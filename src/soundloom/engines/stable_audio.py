"""The interface of engines that run Stable Audio. Arrays are the engine's own, except where NumPy is named.

Letters for axes: b batch, c latent channels, t latent frames, s tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.base import BaseEngine, ComponentSource
from soundloom.errors import CheckpointError, EngineError
from soundloom.lora.branches import Branches

Array = Any  # torch.Tensor or mlx.core.array; plain operators work on it
Conditioning = Any  # inputs shared by all steps, of the engine's own type
NoiseFn = Callable[[Sequence[int]], np.ndarray]  # standard normal noise of a shape
Component = Literal["text", "conditioner", "dit", "encoder", "decoder"]

TEXT_PREFIX = "model.encoder."


class GraphRunner(Protocol):
    """Runs programs; may capture a program as a graph and replay it for equal keys."""

    def __call__(
        self, key: Hashable, program: Callable[[Mapping[str, Array]], tuple[Array, ...]], inputs: Mapping[str, Array]
    ) -> tuple[Array, ...]:
        """Return program(inputs); equal keys promise equal programs, and inputs of equal shapes and dtypes."""


class Engine(BaseEngine[Component], Protocol):
    """The networks of one checkpoint on one device."""

    checkpoint: Checkpoint

    @property
    def graphs(self) -> GraphRunner | None:
        """The runner of captured graphs, None where the engine runs operations directly."""

    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> Array:
        """Return text embeddings (b, s, d) of ids and mask (b, s)."""

    def embed(self, text: Array, mask: np.ndarray, seconds: np.ndarray) -> tuple[Array, Array]:
        """Return the context (b, s + 1, d) of text and duration, and the duration alone (b, d)."""

    def condition(
        self, context: Array, duration: Array, local_cond: Array, repeats: int = 1, times: Sequence[float] = ()
    ) -> Conditioning:
        """Compute the inputs that all steps share; `local_cond` is (b, 1 + c, t), or zeros (1, 1 + c, 1).

        The token before the duration stands for `repeats` equal ones. `times` of later steps are embedded in advance.
        """

    def velocity(
        self, x: Array, t: float | Array, cond: Conditioning, valid: np.ndarray | None, zero_values: bool = False
    ) -> Array:
        """Return the velocity of x (b, c, t), float32; t is a float or (b, 1, 1), valid (b, t) marks real frames."""

    def load_branches(self, slots: Sequence[Branches | None]) -> None:
        """Copy sets of adapters to the device as slots, in place of all earlier ones; none is in use then."""

    def use_branches(self, slot: int | None) -> None:
        """Let all later `embed`, `condition` and `velocity` calls compute with a slot; None: with the weights alone.

        Networks that are freed and loaded again keep the slot. An empty slot, loaded from None, equals None.
        """

    def encode(self, audio: np.ndarray, noise_fn: NoiseFn | None) -> np.ndarray:
        """Return latents (b, c, t) of audio (b, channels, samples); `noise_fn` adds the published codec noise."""

    def decode(self, latents: np.ndarray, noise_fn: NoiseFn | None) -> np.ndarray:
        """Return audio (b, channels, samples) of latents (b, c, t); `noise_fn` as in `encode`."""

    def decode_array(self, latents: Array) -> Array:
        """Return audio (b, channels, samples) of latents (b, c, t), both on the device."""

    def array(self, value: np.ndarray) -> Array:
        """Copy a NumPy array to the device."""

    def numpy(self, value: Array) -> np.ndarray:
        """Copy an array to NumPy; floating dtypes become float32."""

    def concatenate(self, parts: Sequence[Array], axis: int = 0) -> Array:
        """Join arrays along an axis."""

    def evaluate(self, x: Array) -> None:
        """Wait until x is computed."""


def find_component(checkpoint: Checkpoint, component: Component) -> ComponentSource:
    """Return the source of a component. Raises EngineError or CheckpointError if the checkpoint lacks it."""
    if component == "text":
        return _text_encoder(checkpoint)
    if component in ("encoder", "decoder"):
        return _autoencoder_half(checkpoint, component)
    if not isinstance(checkpoint.config, ModelConfig):
        raise EngineError(
            f"{checkpoint.name} is only an autoencoder and cannot generate",
            "it encodes and decodes; generating needs small-music, small-sfx, medium or mini",
        )
    if component == "dit":
        tensors = checkpoint.component(DIT_PREFIX)
        return ComponentSource(checkpoint.config.dit, tensors, f"{checkpoint.name}'s transformer")
    config = checkpoint.config.model.conditioning
    return ComponentSource(config, checkpoint.component(CONDITIONER_PREFIX), f"{checkpoint.name}'s conditioner")


def _text_encoder(checkpoint: Checkpoint) -> ComponentSource:
    files = checkpoint.text_encoder
    if files is None:
        raise CheckpointError(
            f"{checkpoint.name} has no text encoder",
            "put the published folder t5gemma-b-b-ul2 next to model.safetensors",
        )
    tensors = {name.removeprefix(TEXT_PREFIX): t for name, t in files.tensors.items() if name.startswith(TEXT_PREFIX)}
    return ComponentSource(files.config, tensors, f"{checkpoint.name}'s text encoder")


def _autoencoder_half(checkpoint: Checkpoint, half: str) -> ComponentSource:
    unused = ("decoder.",) if half == "encoder" else ("encoder.", "bottleneck.scaling_factor", "bottleneck.bias")
    tensors = {name: t for name, t in checkpoint.component(SAME_PREFIX).items() if not name.startswith(unused)}
    return ComponentSource(checkpoint.config.same, tensors, f"{checkpoint.name}'s autoencoder ({half})")
