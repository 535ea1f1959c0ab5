"""What fewer bits cost: sizes on disk and in memory, and how far the results move."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from soundloom.audio.mel import log_mel
from soundloom.checkpoints.packed import bytes_of
from soundloom.engines.base import Component
from soundloom.engines.parts import find_part
from soundloom.pipeline.model import Model
from soundloom.quantization.probe import TIMES, Probe, energy


@dataclass(frozen=True)
class Size:
    """Bytes of one component's weights, in its files and in the engine's memory."""

    disk: int
    memory: int


@dataclass(frozen=True)
class Report:
    """Sizes before and after, and distances between the two models on the same noise and prompts.

    `cosines`: of the velocity, one for each of `TIMES`, at the same latents. `first_step_snr`: in dB, of the clean
    latent that the first step predicts. `log_mel_distance`: mean absolute difference in dB of the decoded clips.
    """

    before: dict[str, Size]
    after: dict[str, Size]
    cosines: dict[float, float]
    first_step_snr: float
    log_mel_distance: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(full: Model, packed: Model, probe: Probe) -> Report:
    """Run both models along the probe's path and then to sound; a run of four steps and a decoding for each."""
    velocities = probe.velocities(packed.engine)
    start = probe.points[0]
    clean, other = (start.x - start.time * v for v in (start.velocity, velocities[0]))
    _, latents = probe.conditions.path(packed.engine, start.x)
    mels = [
        log_mel(np.concatenate([full.decode(item).audio for item in end], axis=-1), full.sample_rate)
        for end in (probe.latents, latents)
    ]
    return Report(
        before=sizes(full),
        after=sizes(packed),
        cosines={time: _cosine(v, p.velocity) for time, v, p in zip(TIMES, velocities, probe.points, strict=True)},
        first_step_snr=_decibels(energy(clean), energy(clean - other)),
        log_mel_distance=float(np.abs(mels[0] - mels[1]).mean()),
    )


def sizes(model: Model) -> dict[str, Size]:
    """What each component takes; every component is loaded once."""
    found = {}
    for component in get_args(Component):
        model.engine.load(component)
        stored = bytes_of(find_part(model.checkpoint, component).tensors.values())
        found[component] = Size(stored, model.engine.weight_bytes(component))
        model.engine.free(component)
    return found


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a.astype(np.float64) * b).sum() / np.sqrt(energy(a) * energy(b)))


def _decibels(signal: float, noise: float) -> float:
    """10 log10 of a ratio; infinite where there is no noise."""
    return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))
