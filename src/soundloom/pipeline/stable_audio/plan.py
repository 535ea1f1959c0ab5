"""Turn requests into plans: defaults, lengths, passes, sampling times and masks. NumPy only, no weights.

The model also generates a few seconds of silence after the requested length, which are trimmed. The frames of that
padding are few and real, so by default nothing is padded or masked beyond them.
Source for the published length rules: stable-audio-3, model.py; its MLX runtime, sa3_mlx.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip
from soundloom.config.catalogue import find_entry
from soundloom.config.entries import DEFAULT_SECONDS
from soundloom.config.stable_audio.model import ModelConfig, ShiftConfig
from soundloom.config.stable_audio.request import SEED_LIMIT, Compat, GenerationRequest, Guidance
from soundloom.config.stable_audio.rhythm import whole_beats
from soundloom.config.stable_audio.same import ResamplerConfig
from soundloom.diffusion.inpainting import Span, keep_mask
from soundloom.diffusion.noise import random_seed
from soundloom.diffusion.schedules import schedule
from soundloom.errors import RequestError
from soundloom.pipeline.plan import Plan, group_alike
from soundloom.pipeline.stable_audio.tempo import with_tempo
from soundloom.pipeline.stable_audio.windows import PassWindow, plan_seam, plan_windows

PUBLISHED_CHUNK = 32  # patches; the length rule of the package takes it for SAME-L too, which has no chunks


@dataclass(frozen=True)
class PlannedClip:
    """A request with every default resolved, and the windows that its passes generate.

    `seconds`, `rate`, `channels` and `samples` describe the result, in which the source starts at sample `offset`.
    The first window of a new clip has no source.
    """

    request: GenerationRequest
    seed: int
    steps: int
    sampler: str
    guidance: Guidance
    shift: ShiftConfig
    mode: str
    seconds: float
    rate: int
    channels: int
    samples: int
    windows: tuple[PassWindow, ...]
    offset: int = 0
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the seed and the request with defaults resolved, as plain data."""
        resolved = replace(
            self.request,
            seconds=self.request.seconds if self.request.source else self.seconds,
            seed=self.seed,
            steps=self.steps,
            sampler=self.sampler,
            guidance=self.guidance,
            shift=self.shift,
        )
        record: dict[str, Any] = {"seed": self.seed, "request": resolved.to_record()}
        return record | {"loop": self._loop()} if self.request.loop else record

    def _loop(self) -> dict[str, Any]:
        """Return the known facts about a loop: tempo, bars, meter and beats."""
        request = self.request
        beats = None if request.bpm is None else whole_beats(self.samples / self.rate, request.bpm)
        known = {"bpm": request.bpm, "bars": request.bars, "meter": request.meter, "beats": beats}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class PlannedPass:
    """One pass through the model, at its sample rate.

    `audio` (channels, samples) is what an edit starts from, `regions` which of its samples are generated; without
    regions all of it is varied. `seconds` is the duration that conditions the model, `samples` the length that is
    preserved of the result, `start` where the pass begins in the clip, in seconds.
    """

    clip: PlannedClip
    seconds: float
    seed: int
    samples: int
    frames: int
    valid: int
    audio: np.ndarray | None = None
    regions: tuple[Span, ...] = ()
    start: float = 0.0


@dataclass(frozen=True)
class BatchPlan:
    """Passes that go through the transformer together; `places` are their indices among all passes.

    `first` is the clip whose sampler, steps and guidance are those of all passes. `valid` (b, frames) tells which
    frames are real, None when all are; `keep` (b, 1, frames) masks the preserved frames, None without inpainting;
    `times` (b, steps + 1) is the schedule.
    """

    passes: tuple[PlannedPass, ...]
    places: tuple[int, ...]
    frames: int
    first: PlannedClip
    compat: Compat
    is_edit: bool
    valid: np.ndarray | None
    keep: np.ndarray | None
    times: np.ndarray


def default_seconds(name: str) -> float:
    """Return the length of a model's clips where none is requested."""
    entry = find_entry(name)
    return entry.default_seconds if entry else DEFAULT_SECONDS


def plan(requests: Sequence[GenerationRequest], config: ModelConfig, seconds: float) -> Plan[PlannedClip]:
    """Plan a clip for each request; `seconds` is the default length. Clips of one shape and sampler run together.

    Requests that differ only in prompt and seed are measured once, so planning hundreds of clips costs nothing.
    Raises RequestError for what the model cannot do.
    """
    measured: dict[GenerationRequest, tuple[PlannedClip, PlannedPass]] = {}
    clips, passes = [], []
    for asked in requests:
        request, notes = with_tempo(asked)
        second = None if request.prompt_b is None else ""
        common = replace(request, prompt="", prompt_b=second, negative_prompt=None, seed=0)
        if common not in measured:
            clip = plan_clip(common, config, seconds)
            measured[common] = clip, plan_pass(clip, config)
        clip, first = measured[common]
        seed = random_seed() if request.seed is None else request.seed
        clips.append(replace(clip, request=request, seed=seed, notes=(*clip.notes, *notes)))
        passes.append(first)
    if len({one.frames for one in share_length(passes)}) < len({one.frames for one in passes}):
        return Plan(clips, [range(len(clips))])  # published systems make all clips as long as the longest
    return Plan(clips, group_alike([batch_key(one) for one in passes]))


def plan_clip(request: GenerationRequest, config: ModelConfig, default_seconds: float) -> PlannedClip:
    """Resolve the defaults of a request and plan its passes; raises RequestError for what the model cannot do."""
    defaults = config.sampling_defaults
    resolved = partial(
        PlannedClip,
        request=request,
        seed=random_seed() if request.seed is None else request.seed,
        steps=request.steps or defaults.steps,
        sampler=request.sampler or defaults.sampler,
        guidance=request.guidance or Guidance(defaults.guidance),
        shift=request.shift or config.model.diffusion.sampling_shift,
    )
    if request.source is None:
        return _plan_new(resolved, request, config, default_seconds)
    return _plan_edit(resolved, request, request.source, config)


def _plan_edit(
    resolved: Callable[..., PlannedClip], request: GenerationRequest, source: Clip, config: ModelConfig
) -> PlannedClip:
    if not source.samples:
        raise RequestError("the clip to edit has no samples")
    rate = source.sample_rate
    offset = round(request.offset * rate)
    known = offset, offset + source.samples
    samples = max(round((request.seconds or 0.0) * rate), known[1])
    _, note = to_stereo(np.empty((source.channels, 0)))
    if request.loop and samples > source.samples:
        raise RequestError(
            f"the clip is {source.seconds:.4g} s long, and a loop of {samples / rate:.4g} s was requested",
            "ask for fewer bars, or extend the clip first",
        )
    windows = (
        (plan_seam(request, config, rate, samples),)
        if request.loop
        else plan_windows(request, config, rate, known, samples)
    )
    return resolved(
        mode=_mode_of_edit(request, windows, samples > source.samples),
        seconds=samples / rate,
        rate=rate,
        channels=min(source.channels, 2),
        samples=samples,
        windows=windows,
        offset=offset,
        notes=(note,) if note else (),
    )


def _mode_of_edit(request: GenerationRequest, windows: Sequence[PassWindow], is_longer: bool) -> str:
    if request.loop:
        return "loop"
    return "vary" if not windows[0].regions else "extend" if is_longer else "inpaint"


def _plan_new(
    resolved: Callable[..., PlannedClip], request: GenerationRequest, config: ModelConfig, default_seconds: float
) -> PlannedClip:
    """Plan a new clip: one pass, and beyond the model's limit as many as it takes to continue the first."""
    rate, limit = config.sample_rate, config.max_seconds
    seconds = min(default_seconds, limit) if request.seconds is None else request.seconds
    if seconds > limit and (request.compat != Compat() or not request.passes):
        who = "published systems generate" if request.passes else "one pass generates"
        raise RequestError(
            f"{seconds:g} s were requested, and {who} at most {limit:.4g} s with this model",
            f"{'leave out compat' if request.passes else 'allow several passes'}, or request a shorter clip",
        )
    samples, longest = round(seconds * rate), round(limit * rate)
    windows, notes = [PassWindow(0, min(samples, longest))], []
    if samples > longest:
        windows += plan_windows(request, config, rate, (0, longest), samples)
        notes = [
            f"the model generates at most {limit:.4g} s at once: the clip was generated in {len(windows)} passes, "
            "each of which continues the last"
        ]
    if request.loop:
        windows.append(plan_seam(request, config, rate, samples))
    return resolved(
        mode="generate",
        seconds=seconds,
        rate=rate,
        channels=config.audio_channels,
        samples=samples,
        windows=tuple(windows),
        notes=tuple(notes),
    )


def plan_pass(clip: PlannedClip, config: ModelConfig, number: int = 0) -> PlannedPass:
    """Measure a pass of a clip, without the audio that it starts from.

    Below the shortest clip of training, the model generates that length and the result is trimmed.
    """
    window, scale = clip.windows[number], config.sample_rate / clip.rate
    seconds = (window.stop - window.start) / clip.rate
    if clip.request.source is None and not number:
        seconds = min(clip.seconds, config.max_seconds)
    samples, frames, valid = _count_frames(seconds, clip.request, config)
    regions = [(start - window.start, end - window.start) for start, end in window.regions]
    return PlannedPass(
        clip,
        max(seconds, config.trained_seconds[0]),
        (clip.seed + number) % SEED_LIMIT,
        samples,
        frames,
        valid,
        regions=tuple(_at_rate(region, scale, samples) for region in regions),
        start=(window.start + window.rotation) / clip.rate,
    )


def _count_frames(requested: float, request: GenerationRequest, config: ModelConfig) -> tuple[int, int, int]:
    """Return the samples, latent frames and real frames of a pass."""
    rate, ratio = config.sample_rate, config.same.downsampling_ratio
    compat, padding = request.compat, request.duration_padding
    encoder, seconds = config.same.encoder.config, max(requested, config.trained_seconds[0])
    if compat.lengths == "compact":
        frames = max(1, math.ceil(seconds * rate / ratio))
        frames += -frames % encoder.latents_per_chunk
        return max(1, round(requested * rate)), frames, frames
    multiple = ratio * _length_multiple(encoder)
    wanted = int((seconds + padding) * rate)
    # Rounding up to complete frames may pass the limit by a part of one, which is no reason to reject the request.
    frames = min(-(-wanted // multiple) * multiple, config.sample_size) // ratio
    valid = min(frames, math.ceil(int(seconds * rate) / ratio) + int(padding * rate / ratio))
    if compat.padding == "exact":
        # The requested samples may need one frame more than the published rule, which rounds down.
        valid = max(valid, math.ceil(round(seconds * rate) / ratio))
        return max(1, round(requested * rate)), valid, valid
    return int(requested * rate), frames, valid


def _length_multiple(encoder: ResamplerConfig) -> int:
    """Return the frames to which the package rounds lengths up."""
    chunk = PUBLISHED_CHUNK if encoder.sliding_window is not None else encoder.chunk_size
    return max(chunk // encoder.stride, 1)


def _at_rate(region: Span, scale: float, samples: int) -> Span:
    """Return a region at another rate: all samples that it touches, at least one, none beyond the end."""
    start = max(0, min(int(region[0] * scale), samples - 1))
    return start, min(max(math.ceil(region[1] * scale), start + 1), samples)


def batch_key(one: PlannedPass) -> Hashable:
    """Return what the passes of a batch have in common."""
    clip = one.clip
    is_edit = clip.request.source is not None
    request = clip.request
    settings = clip.steps, clip.sampler, clip.guidance, clip.shift, request.compat, request.loras
    # Adapters that act at certain noise levels need passes of one schedule.
    is_gated = request.loras is not None and any(use.is_gated for use in request.loras.uses)
    follows_curve = isinstance(request.mix, tuple)  # with a second velocity in each step
    gate = (one.seconds, request.noise) if is_gated else None
    return one.frames, is_edit, bool(one.regions), follows_curve, *settings, gate


def share_length(passes: Sequence[PlannedPass]) -> Sequence[PlannedPass]:
    """Return passes all as long as the longest, where their requests ask for this behavior of published systems."""
    if not passes or passes[0].clip.request.compat.batch != "shared":
        return passes
    longest = max(one.frames for one in passes)
    return [replace(one, frames=longest, valid=min(one.valid, longest)) for one in passes]


def make_batches(passes: Sequence[PlannedPass], config: ModelConfig) -> list[BatchPlan]:
    """Group the passes that can run together, in order of first appearance."""
    passes = share_length(passes)
    groups = group_alike([batch_key(one) for one in passes])
    return [_plan_batch([passes[i] for i in places], places, config) for places in groups]


def _plan_batch(passes: Sequence[PlannedPass], places: Sequence[int], config: ModelConfig) -> BatchPlan:
    clip, frames, ratio = passes[0].clip, passes[0].frames, config.same.downsampling_ratio
    compat, is_edit = clip.request.compat, passes[0].audio is not None
    lengths = np.array([one.valid for one in passes])
    valid = None
    if compat.padding != "exact" and (lengths != frames).any():
        valid = np.arange(frames) < lengths[:, None]
    keep = None
    if passes[0].regions:
        keep = np.stack([keep_mask(frames, ratio, one.regions, compat.frame_rule) for one in passes])[:, None]
        for mask, one in zip(keep, passes, strict=True):
            mask[:, math.ceil(one.samples / ratio) :] = 0  # frames after the clip are generated, as in training
    rows = []
    for one in passes:
        length = frames
        if config.model.diffusion.use_effective_length_for_schedule:
            length = max(1, math.ceil(int(one.seconds * config.sample_rate) / ratio))
        level = one.clip.request.noise if is_edit else 1.0
        rows.append(schedule(clip.steps, level=level, shift=clip.shift, lengths=length, start=compat.schedule))
    return BatchPlan(tuple(passes), tuple(places), frames, clip, compat, is_edit, valid, keep, np.stack(rows))


def require_addition(clip: Clip, seconds: float) -> None:
    """Raise RequestError unless extending a clip by `seconds` adds at least one sample."""
    if not seconds > 0:
        raise RequestError(f"a clip is extended by more than 0 seconds, found {seconds:g}")
    if math.isfinite(seconds) and round(seconds * clip.sample_rate) < 1:
        raise RequestError(
            f"{seconds:g} s are less than one sample at {clip.sample_rate} Hz", "extend by more, such as 1 s"
        )
