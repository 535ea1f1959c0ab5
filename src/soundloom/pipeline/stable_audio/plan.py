"""From requests to numbers: defaults, lengths, times, masks. NumPy only, no weights.

Lengths: the model makes a few seconds of silence behind what was asked, which is cut off afterwards; the frames of
that padding are few and real, so by default nothing is padded or masked beyond them.
Source for the published length rules: stable-audio-3, model.py; its MLX runtime, sa3_mlx.py.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundloom.config.stable_audio.model import ModelConfig, ShiftConfig
from soundloom.config.stable_audio.request import Compat, GenerationRequest, Guidance
from soundloom.config.stable_audio.same import ResamplerConfig
from soundloom.diffusion.masks import Span, keep_mask
from soundloom.diffusion.noise import random_seed
from soundloom.diffusion.schedules import schedule
from soundloom.errors import RequestError

BASE_GUIDANCE, DISTILLED_STEPS, BASE_STEPS = 7.0, 8, 50
PUBLISHED_CHUNK = 32  # patches; the length rule of the package takes it for SAME-L too, which has no chunks


@dataclass(frozen=True)
class Job:
    """A request with nothing left open."""

    request: GenerationRequest
    seconds: float  # of the result
    seed: int
    steps: int
    sampler: str
    guidance: Guidance
    shift: ShiftConfig


@dataclass(frozen=True)
class Item:
    """One pass through the model, at its sample rate.

    `audio` (channels, samples) is what an edit starts from, `regions` which of its samples are made anew; without
    regions it is varied as a whole. `seconds` is the duration that the model is conditioned on, `samples` what is kept.
    """

    job: Job
    seconds: float
    seed: int
    samples: int
    frames: int
    valid: int
    audio: np.ndarray | None = None
    regions: tuple[Span, ...] = ()

    @property
    def level(self) -> float:
        """The time at which sampling starts."""
        return self.job.request.noise if self.audio is not None else 1.0


@dataclass(frozen=True)
class Batch:
    """Items that go through the transformer together; `places` are their positions among all items."""

    items: tuple[Item, ...]
    places: tuple[int, ...]
    frames: int

    @property
    def first(self) -> Job:
        """The job whose sampler, steps and guidance hold for all items."""
        return self.items[0].job

    @property
    def compat(self) -> Compat:
        return self.first.request.compat

    @property
    def is_edit(self) -> bool:
        return self.items[0].audio is not None

    def valid(self) -> np.ndarray | None:
        """Return which frames are real (b, frames), or None when all are."""
        lengths = np.array([item.valid for item in self.items])
        if self.compat.padding == "exact" or (lengths == self.frames).all():
            return None
        return np.arange(self.frames) < lengths[:, None]

    def keep(self, ratio: int) -> np.ndarray | None:
        """Return the mask of kept frames (b, 1, frames), or None when nothing is inpainted."""
        if not self.items[0].regions:
            return None
        masks = np.stack([keep_mask(self.frames, ratio, item.regions, self.compat.frame_rule) for item in self.items])
        for mask, item in zip(masks, self.items, strict=True):
            mask[math.ceil(item.samples / ratio) :] = 0  # what lies behind the clip is made anew, as in training
        return masks[:, None]

    def schedule(self, config: ModelConfig) -> np.ndarray:
        """Return the times (b, steps + 1)."""
        ratio = config.same.downsampling_ratio
        rows = [
            schedule(
                self.first.steps,
                level=item.level,
                shift=self.first.shift,
                lengths=max(1, math.ceil(int(item.seconds * config.sample_rate) / ratio))
                if config.model.diffusion.use_effective_length_for_schedule
                else self.frames,
                start=self.compat.schedule,
            )
            for item in self.items
        ]
        return np.stack(rows)


def make_job(request: GenerationRequest, config: ModelConfig, default_seconds: float) -> Job:
    """Fill in the model's defaults and a seed; raises RequestError where the model cannot honor the request."""
    distilled = config.is_distilled
    seconds = request.seconds
    if request.source is not None:
        seconds = max(seconds or 0.0, request.offset + request.source.seconds)
    elif seconds is None:
        seconds = min(default_seconds, config.max_seconds)
    if request.source is None and seconds > config.max_seconds and request.compat != Compat():
        raise RequestError(
            f"{seconds:g} s were asked for, and published systems make at most {config.max_seconds:.4g} s with this "
            "model",
            "leave out compat, or make a shorter clip",
        )
    return Job(
        request,
        seconds,
        random_seed() if request.seed is None else request.seed,
        request.steps or (DISTILLED_STEPS if distilled else BASE_STEPS),
        request.sampler or ("pingpong" if distilled else "euler"),
        request.guidance or Guidance(1.0 if distilled else BASE_GUIDANCE),
        request.shift or config.model.diffusion.sampling_shift,
    )


def make_item(job: Job, config: ModelConfig, seconds: float, seed: int) -> Item:
    """Measure a pass that makes so many seconds.

    Below the shortest clip of training, the model is asked for that length and the result is cut.
    """
    rate, ratio = config.sample_rate, config.same.downsampling_ratio
    compat, padding = job.request.compat, job.request.duration_padding
    encoder, asked = config.same.encoder.config, seconds
    seconds = max(seconds, config.trained_seconds[0])
    if compat.lengths == "compact":
        frames = max(1, math.ceil(seconds * rate / ratio))
        frames += -frames % encoder.latents_per_chunk
        return Item(job, seconds, seed, max(1, round(asked * rate)), frames, frames)
    multiple = ratio * _length_multiple(encoder)
    wanted = int((seconds + padding) * rate)
    # Rounding up to whole frames may pass the limit by a part of one, which is no reason to refuse.
    frames = min(-(-wanted // multiple) * multiple, config.sample_size) // ratio
    valid = min(frames, math.ceil(int(seconds * rate) / ratio) + int(padding * rate / ratio))
    if compat.padding == "exact":
        # The samples asked for may need one frame more than the published rule, which rounds down.
        valid = max(valid, math.ceil(round(seconds * rate) / ratio))
        return Item(job, seconds, seed, max(1, round(asked * rate)), valid, valid)
    return Item(job, seconds, seed, int(asked * rate), frames, valid)


def _length_multiple(encoder: ResamplerConfig) -> int:
    """Return the frames to which the package rounds lengths up."""
    chunk = PUBLISHED_CHUNK if encoder.sliding_window is not None else encoder.chunk_size
    return max(chunk // encoder.stride, 1)


def batch_key(item: Item) -> Hashable:
    """What items that go through the transformer together have in common."""
    job = item.job
    return (
        item.frames,
        job.request.source is not None,
        bool(item.regions),
        *(job.steps, job.sampler, job.guidance, job.shift, job.request.compat),
    )


def measure_shared(items: Sequence[Item]) -> Sequence[Item]:
    """Return items as published systems measure those of one call, all as long as the longest, if they ask for that."""
    if not items or items[0].job.request.compat.batch != "shared":
        return items
    longest = max(item.frames for item in items)
    return [replace(item, frames=longest, valid=min(item.valid, longest)) for item in items]


def make_batches(items: Sequence[Item], limit: int) -> list[Batch]:
    """Group items that can run together, in order of their first, at most `limit` in one batch."""
    items = measure_shared(items)
    groups = places_alike([batch_key(item) for item in items], limit)
    return [Batch(tuple(items[place] for place in places), tuple(places), items[places[0]].frames) for places in groups]


def places_alike(keys: Iterable[Hashable], limit: int) -> list[list[int]]:
    """Return the places of equal keys, in the order of their first, at most `limit` in a group."""
    alike: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        alike.setdefault(key, []).append(place)
    return [places[start : start + limit] for places in alike.values() for start in range(0, len(places), limit)]
