"""The report of a quantization: sizes on disk and in memory, and distances from the full model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from soundloom.audio.mel import log_mel
from soundloom.checkpoints.formats.packed import stored_bytes
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.engines.base import BaseEngine
from soundloom.engines.stable_audio import Component, find_component
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.trajectory import TIMES, Trajectory, energy

if TYPE_CHECKING:
    from soundloom.evaluation.metrics import Metric


@dataclass(frozen=True)
class Size:
    """Bytes of one component's weights, in its files and in the engine's memory."""

    disk: int
    memory: int


@dataclass(frozen=True)
class Distances:
    """Distances of a model from the full one, on the same noise and prompts.

    `cosines` are the cosine similarities of velocities at the same latents, by time. `first_step_snr` is in dB, of the
    clean latent predicted by the first step. `log_mel` is the mean absolute log-mel difference of decoded clips, in dB.
    """

    cosines: dict[float, float]
    first_step_snr: float
    log_mel: float

    def lines(self) -> list[str]:
        cosines = ", ".join(f"{cosine:.5f} at {time:g}" for time, cosine in self.cosines.items())
        return [
            f"velocity, cosine with the full model's: {cosines}",
            f"latent after the first step: {self.first_step_snr:.1f} dB signal to noise",
            f"decoded audio: log-mel spectra {self.log_mel:.2f} dB apart",
        ]


@dataclass(frozen=True)
class LogitDistances:
    """Distances of a language model from the full one, on the same tokens and prompts.

    `cosines` are the cosine similarities of logits, by number of positions. `divergence` is the mean KL divergence of
    the token distributions, in nats. `same` is the share of tokens with the same argmax.
    """

    cosines: dict[int, float]
    divergence: float
    same: float

    def lines(self) -> list[str]:
        cosines = ", ".join(f"{cosine:.5f} after {position}" for position, cosine in self.cosines.items())
        return [
            f"logits, cosine with the full model's: {cosines} positions",
            f"tokens: distributions {self.divergence:.4f} nats apart, {100 * self.same:.1f} % with the same argmax",
        ]


@dataclass(frozen=True)
class AdherencePair:
    """One prompt adherence metric of `evaluation.report`, of both models."""

    full: Metric
    packed: Metric


@dataclass(frozen=True)
class QuantizationReport:
    """Sizes before and after, and distances; `uncalibrated` has the distances before GPTQ calibration."""

    before: dict[str, Size]
    after: dict[str, Size]
    distances: Distances | LogitDistances
    uncalibrated: Distances | None = None
    adherence: list[AdherencePair] = field(default_factory=list)

    def lines(self) -> list[str]:
        sizes = [
            f"{component}: {before.disk / 1e6:.1f} to {self.after[component].disk / 1e6:.1f} MB in files, "
            f"{before.memory / 1e6:.1f} to {self.after[component].memory / 1e6:.1f} MB in memory"
            for component, before in self.before.items()
        ]
        without = [f"without calibration, {line}" for line in self.uncalibrated.lines()] if self.uncalibrated else []
        adherence = [
            f"{both.full.name}: {100 * both.full.value:.0f} to {100 * both.packed.value:.0f} % "
            f"of {both.full.count} prompts"
            for both in self.adherence
            if not both.full.name.startswith(" ")  # skip indented metrics of single families, which have few prompts
        ]
        return [*sizes, *self.distances.lines(), *without, *adherence]


def measure_distances(full: Model, packed: Model, trajectory: Trajectory) -> Distances:
    """Run the packed model at the points of the trajectory and from its noise to audio, and compare."""
    velocities = trajectory.velocities(packed.engine)
    start = trajectory.points[0]
    clean, other = (start.x - start.time * v for v in (start.velocity, velocities[0]))
    _, latents = trajectory.conditioning.sample(packed.engine, start.x)
    mels = [
        log_mel(np.concatenate([full.decode(item).audio for item in batch], axis=-1), full.sample_rate)
        for batch in (trajectory.latents, latents)
    ]
    return Distances(
        cosines={time: cosine(v, p.velocity) for time, v, p in zip(TIMES, velocities, trajectory.points, strict=True)},
        first_step_snr=_decibels(energy(clean), energy(clean - other)),
        log_mel=float(np.abs(mels[0] - mels[1]).mean()),
    )


def sizes(engine: BaseEngine[Any], stored: Mapping[str, Iterable[LazyTensor]]) -> dict[str, Size]:
    """Return the sizes of components, given their tensors; loads each component in turn."""
    result = {}
    for component, tensors in stored.items():
        engine.load(component)
        result[component] = Size(stored_bytes(tensors), engine.weight_bytes(component))
        engine.free(component)
    return result


def model_sizes(model: Model) -> dict[str, Size]:
    """Return the sizes of a model's components."""
    return sizes(model.engine, {c: find_component(model.checkpoint, c).tensors.values() for c in get_args(Component)})


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a.astype(np.float64) * b).sum() / np.sqrt(energy(a) * energy(b)))


def _decibels(signal: float, noise: float) -> float:
    """Return 10 log10 of the ratio, infinite without noise."""
    return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))
