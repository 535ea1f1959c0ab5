"""What the pipeline asks of an engine. Arrays are the engine's own, except where NumPy is named.

Letters for axes: b batch, c latent channels, t latent frames, s tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from soundloom.errors import EngineError

Array = Any  # torch.Tensor or mlx.core.array; plain operators work on it
Conditioning = Any  # what all steps of a clip share
NoiseFn = Callable[[Sequence[int]], np.ndarray]
Component = Literal["text", "conditioner", "dit", "encoder", "decoder"]


def memory_error(error: RuntimeError, signs: Sequence[str]) -> EngineError | None:
    """What to say of a framework's error that has one of the signs of too little memory; None for any other."""
    reason = str(error).partition("\n")[0]
    if not any(sign in reason for sign in signs):
        return None
    return EngineError(
        f"there is not enough memory: {reason}", "make shorter or fewer clips at once, or take another device"
    )


class GraphRunner(Protocol):
    """Runs programs: what was run before under the same key may be replayed from a recording."""

    def __call__(
        self, key: Hashable, program: Callable[[Mapping[str, Array]], tuple[Array, ...]], inputs: Mapping[str, Array]
    ) -> tuple[Array, ...]:
        """Return program(inputs); equal keys promise equal programs, and inputs of equal shapes and dtypes."""
        ...


class Engine(Protocol):
    """The networks of one checkpoint on one device. Components load when first used and leave with `free`."""

    name: str
    device: str
    precision: str

    @property
    def graphs(self) -> GraphRunner | None:
        """What runs whole programs, None where operations are best issued anew each time."""
        ...

    def describe(self) -> dict[str, str]:
        """Say which attention path, precision and device are in use."""
        ...

    def load(self, component: Component) -> None:
        """Read a component now rather than when it is first used."""
        ...

    def free(self, *components: Component) -> None:
        """Drop components and give their memory back."""
        ...

    def weight_bytes(self, component: Component) -> int:
        """Return what the weights of a component take in memory, packed ones as packed."""
        ...

    def encode_text(self, ids: np.ndarray, mask: np.ndarray) -> Array:
        """Return text embeddings (b, s, d) of ids and mask (b, s)."""
        ...

    def embed(self, text: Array, mask: np.ndarray, seconds: np.ndarray) -> tuple[Array, Array]:
        """Return the context (b, s + 1, d) of text and duration, and the duration alone (b, d)."""
        ...

    def condition(
        self, context: Array, duration: Array, local: Array, repeats: int = 1, times: Sequence[float] = ()
    ) -> Conditioning:
        """Compute once what the steps share; local is (b, 1 + c, t), or zeros (1, 1 + c, 1).

        The token before the duration stands for `repeats` equal ones; `times` are those of steps to come.
        """
        ...

    def velocity(
        self, x: Array, t: Any, condition: Conditioning, valid: np.ndarray | None, zero_values: bool = False
    ) -> Array:
        """Return the velocity of x (b, c, t), float32; t is a float or (b, 1, 1), valid (b, t) marks real frames."""
        ...

    def encode(self, audio: np.ndarray, draw: NoiseFn | None) -> np.ndarray:
        """Return latents (b, c, t) of audio (b, channels, samples); `draw` turns the published codec noise on."""
        ...

    def decode(self, latents: np.ndarray, draw: NoiseFn | None) -> np.ndarray:
        """Return audio (b, channels, samples) of latents (b, c, t)."""
        ...

    def decode_array(self, latents: Array) -> Array:
        """Return audio (b, channels, samples) of latents (b, c, t), both on the device."""
        ...

    def array(self, value: np.ndarray) -> Array:
        """Bring a NumPy array to the device."""
        ...

    def numpy(self, value: Array) -> np.ndarray:
        """Bring an array back as NumPy, float32 where it is floating."""
        ...

    def concatenate(self, parts: Sequence[Array], axis: int = 0) -> Array:
        """Join arrays along an axis."""
        ...

    def evaluate(self, x: Array) -> None:
        """Wait until x is computed."""
        ...

    def reset_peak(self) -> None:
        """Start measuring `peak_memory` anew."""
        ...

    def peak_memory(self) -> int | None:
        """Return the largest device memory in bytes since `reset_peak`, None where only the host has memory."""
        ...
