"""The model that a caller holds: text to sound, edits, and the autoencoder alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, TypeVar, overload

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.checks import check_audio, require_sound
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample
from soundloom.checkpoints.open import Checkpoint, open_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.models import ModelConfig, ShiftConfig
from soundloom.config.requests import SEED_LIMIT, Compat, GenerationRequest, Guidance, Region
from soundloom.diffusion.noise import random_seed
from soundloom.engines.base import Engine
from soundloom.errors import EngineError, OutputError, RequestError
from soundloom.pipeline.chunks import decode_chunks
from soundloom.pipeline.edits import Edit
from soundloom.pipeline.plan import Item, Job, make_item, make_job
from soundloom.pipeline.run import Run, decode_latents, encode_audio
from soundloom.pipeline.stages import Listener, Stages
from soundloom.text.tokenizer import Tokenizer, Tokens
from soundloom.version import __version__

log = logging.getLogger("soundloom")
Value = TypeVar("Value")
DEFAULT_SECONDS = 30.0


def load(
    source: str | Path = "mini",
    *,
    engine: str = "auto",
    device: str | None = None,
    precision: str = "auto",
    keep_loaded: bool = False,
    revision: str | None = None,
    offline: bool | None = None,
    accept_licence: bool = False,
) -> Model:
    """Open a model by catalogue name, folder or file; weights are read when they are first needed.

    `keep_loaded` keeps every network in memory between calls, for servers and batches. `revision`, `offline` and
    `accept_licence` are for downloads. Raises ModelNotFoundError, CheckpointError, DownloadError or EngineError.
    """
    checkpoint = open_checkpoint(source, revision=revision, offline=offline, accept_licence=accept_licence)
    return Model(checkpoint, make_engine(checkpoint, engine, device, precision), keep_loaded=keep_loaded)


def make_engine(checkpoint: Checkpoint, name: str = "auto", device: str | None = None, precision: str = "auto") -> Engine:
    """Build the engine of that name for a checkpoint."""
    if name not in ("auto", "torch"):
        raise EngineError(f"no engine named {name!r}", "known: auto, torch")
    try:
        from soundloom.engines.torch.engine import TorchEngine
    except ModuleNotFoundError as error:
        raise EngineError("PyTorch is not installed", "pip install 'soundloom[torch]'") from error
    return TorchEngine(checkpoint, device, precision)


class Model:
    """A checkpoint on an engine."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, *, keep_loaded: bool = False) -> None:
        self.checkpoint, self.engine, self.keep_loaded = checkpoint, engine, keep_loaded
        self._tokenizer: Tokenizer | None = None

    @property
    def name(self) -> str:
        return self.checkpoint.name

    @property
    def sample_rate(self) -> int:
        return self.checkpoint.config.sample_rate

    @property
    def config(self) -> ModelConfig:
        """The generative configuration; an autoencoder alone has none."""
        if not isinstance(self.checkpoint.config, ModelConfig):
            raise EngineError(
                f"{self.name} is an autoencoder alone and cannot generate", "it can encode and decode; to generate, load mini"
            )
        return self.checkpoint.config

    # Making and editing sound

    @overload
    def generate(self, prompt: str, **options: Any) -> Clip: ...
    @overload
    def generate(self, prompt: Sequence[str], **options: Any) -> list[Clip]: ...
    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | None | Sequence[str | None] = None,
        seconds: float | None | Sequence[float | None] = None,
        seed: int | None | Sequence[int | None] = None,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | Guidance | None = None,
        shift: ShiftConfig | None = None,
        compat: str | Compat = "soundloom",
        progress: Listener | None = None,
        cancel: Event | None = None,
    ) -> Clip | list[Clip]:
        """Make sound from a prompt, or a list of clips when prompt, negative_prompt, seconds or seed is a list.

        One seed for several clips counts up from clip to clip. `guidance` is a scale or a `Guidance`; `progress`
        hears `Progress` events and `cancel` stops between steps. Raises RequestError, OutputError or Cancelled.
        """
        lists = [v for v in (prompt, negative_prompt, seconds, seed) if isinstance(v, Sequence) and not isinstance(v, str)]
        counts = {len(v) for v in lists}
        if len(counts) > 1:
            raise RequestError(f"lists of different lengths were given: {', '.join(map(str, sorted(counts)))}")
        count = counts.pop() if counts else 1
        seeds = _spread(seed, count) if isinstance(seed, Sequence) else count_up(seed, count)
        requests = [
            GenerationRequest(
                each_prompt,
                negative_prompt=each_negative,
                seconds=each_seconds,
                seed=each_seed,
                steps=steps,
                sampler=sampler,
                guidance=_guidance(guidance),
                shift=shift,
                compat=_compat(compat),
            )
            for each_prompt, each_negative, each_seconds, each_seed in zip(
                _spread(prompt, count), _spread(negative_prompt, count), _spread(seconds, count), seeds, strict=True
            )
        ]
        clips = self.run(requests, progress=progress, cancel=cancel)
        return clips if lists else clips[0]

    def vary(
        self, clip: Clip, prompt: str = "", *, noise: float = 0.6, regions: Sequence[Region] = (), **options: Any
    ) -> Clip:
        """Make a variation of a clip: the higher `noise`, 0.01 to 1, the further from it.

        With `regions`, in seconds, only those are varied. Options are those of `GenerationRequest`, `progress` and
        `cancel`. The result has the clip's rate, length and channels.
        """
        return self._edit(clip, prompt, noise=noise, regions=tuple(regions), **options)

    def inpaint(self, clip: Clip, regions: Sequence[Region], prompt: str = "", **options: Any) -> Clip:
        """Make regions of a clip anew, all in one pass; every sample outside them stays as it is.

        Regions are (start, end) in seconds; `soundloom.bars` gives them in bars and beats. Each border has a short
        crossfade, inside the region.
        """
        if not regions:
            raise RequestError("inpainting needs at least one region", "regions=[(1.0, 1.5)] renews half a second")
        return self._edit(clip, prompt, regions=tuple(regions), **options)

    def extend(self, clip: Clip, seconds: float, prompt: str = "", *, before: bool = False, **options: Any) -> Clip:
        """Continue a clip by so many seconds, or with `before` put as many in front of it.

        Longer than the model's limit, the work goes on in several passes, each hearing the end of the last.
        """
        if not seconds > 0:
            raise RequestError(f"a clip is extended by more than 0 seconds, found {seconds:g}")
        if before:
            return self._edit(clip, prompt, offset=seconds, **options)
        return self._edit(clip, prompt, seconds=clip.seconds + seconds, **options)

    def _edit(
        self, clip: Clip, prompt: str, *, progress: Listener | None = None, cancel: Event | None = None, **options: Any
    ) -> Clip:
        options["guidance"] = _guidance(options.get("guidance"))
        options["compat"] = _compat(options.get("compat", "soundloom"))
        request = GenerationRequest(prompt, source=clip, **options)
        return self.run([request], progress=progress, cancel=cancel)[0]

    def run(
        self, requests: Sequence[GenerationRequest], *, progress: Listener | None = None, cancel: Event | None = None
    ) -> list[Clip]:
        """Carry out requests, those of equal length together, and return a clip for each."""
        config = self.config
        entry = find_entry(self.name)
        default_seconds = entry.default_seconds if entry else DEFAULT_SECONDS
        jobs = [make_job(request, config, default_seconds) for request in requests]
        edits = {place: Edit(job, config) for place, job in enumerate(jobs) if job.request.source is not None}
        stages = Stages(self.engine, progress, cancel)
        sounds: dict[int, np.ndarray] = {}
        cut: dict[int, str] = {}
        while len(sounds) < len(jobs):
            items = {place: self._next_item(jobs[place], edits.get(place)) for place in range(len(jobs)) if place not in sounds}
            more = any(edit.passes + 1 < len(edit.windows) for edit in edits.values())
            run = Run(self.engine, config, self._tokenize, stages, keep_loaded=self.keep_loaded or more)
            for (place, _), made in zip(items.items(), run(list(items.values())), strict=True):
                edit = edits.get(place)
                if edit is not None:
                    edit.accept(made.audio)
                if edit is None or edit.passes == len(edit.windows):
                    sounds[place] = made.audio if edit is None else edit.sound
            cut.update({list(items)[index]: text for index, text in run.cut.items()})
        return [self._clip(job, sounds[i], edits.get(i), cut.get(i, "")) for i, job in enumerate(jobs)]

    def _next_item(self, job: Job, edit: Edit | None) -> Item:
        if edit is None:
            return make_item(job, self.config, job.seconds, job.seed)
        item = edit.next_item()
        if item is None:
            raise RuntimeError("an edit was asked for more passes than it has")
        return item

    def _tokenize(self, prompts: Sequence[str], length: int) -> Tokens:
        if self._tokenizer is None:
            files = self.checkpoint.text_encoder
            if files is None:
                self.engine.load("text")  # which says what is missing
                raise RuntimeError("the text encoder loaded without its files")
            self._tokenizer = Tokenizer(files.tokenizer, files.config.pad_token_id)
        return self._tokenizer(prompts, length)

    # Results

    def _clip(self, job: Job, audio: np.ndarray, edit: Edit | None, cut: str) -> Clip:
        """Check what was made and wrap it with the record of how."""
        rate = edit.rate if edit else self.sample_rate
        findings = check_audio(audio, rate)
        # A kept part may be silent or clipped; only new sound as a whole is judged by more than being finite.
        strict = edit is None or edit.is_variation
        try:
            require_sound(f for f in findings if strict or f.kind == "not_finite")
        except OutputError as error:
            raise OutputError(f"{self.name}, prompt {job.request.prompt!r}, seed {job.seed}: {error}") from error
        warnings = [f.message for f in findings] + (edit.notes if edit else []) + self._warnings(job, cut)
        for warning in warnings:
            log.warning("%s", warning)
        source = job.request.source
        return Clip(audio, rate, self._record(job, edit, warnings), source.source_format if source and edit else None)

    def _warnings(self, job: Job, cut: str) -> list[str]:
        warnings = []
        if cut:
            length = self.config.model.conditioning.prompt.max_length
            warnings.append(f"the prompt is longer than {length} tokens; this was not heard: {cut!r}")
        if job.guidance.scale != 1 and self.config.is_distilled:
            warnings.append(
                f"{self.name} is distilled: guidance {job.guidance.scale:g} doubles the work and mostly harms; use 1"
            )
        if job.request.negative_prompt is not None and job.guidance.scale == 1:
            warnings.append("a negative prompt does nothing without guidance; give a scale above 1")
        return warnings

    def _record(self, job: Job, edit: Edit | None, warnings: list[str]) -> dict[str, Any]:
        resolved = replace(
            job.request,
            seconds=job.request.seconds if edit else job.seconds,
            seed=job.seed,
            steps=job.steps,
            sampler=job.sampler,
            guidance=job.guidance,
            shift=job.shift,
        )
        record: dict[str, Any] = {
            "soundloom": __version__,
            "mode": _mode(edit),
            "model": self.name,
            "model_hash": self.checkpoint.fingerprint,
            "licence": self.checkpoint.licence,
            "engine": self.engine.name,
            "device": self.engine.device,
            "precision": self.engine.precision,
            "seed": job.seed,
            "request": resolved.to_record(),
        }
        return record | ({"warnings": warnings} if warnings else {})

    # The autoencoder alone

    def encode(self, clip: Clip) -> np.ndarray:
        """Return the latents (channels, frames), float32, of a clip of any rate and number of channels."""
        stereo, note = to_stereo(clip.audio)
        if note:
            log.warning("%s", note)
        audio = resample(stereo, clip.sample_rate, self.sample_rate)
        latents = encode_audio(self.engine, self.checkpoint.config, audio[None])[0]
        if not self.keep_loaded:
            self.engine.free("encoder")
        return latents

    def decode(self, latents: np.ndarray, samples: int | None = None) -> Clip:
        """Return the sound of latents (channels, frames), cut to so many samples if given."""
        audio = decode_latents(self.engine, self.checkpoint.config, self._check_latents(latents))[0]
        if not self.keep_loaded:
            self.engine.free("decoder")
        record = {"soundloom": __version__, "mode": "decode", "model": self.name, "model_hash": self.checkpoint.fingerprint}
        return Clip(audio[:, :samples], self.sample_rate, record)

    def decode_stream(self, latents: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the sound of latents piece by piece (2, samples), so that memory does not grow with length."""
        plan = decode_chunks(latents.shape[-1], self.checkpoint.config.same, "exact")
        pieces = plan.stream(self._check_latents(latents), lambda piece: self.engine.decode(piece, None))
        for piece in pieces:
            yield piece[0]
        if not self.keep_loaded:
            self.engine.free("decoder")

    def _check_latents(self, latents: np.ndarray) -> np.ndarray:
        """Return latents as (1, channels, frames), float32."""
        latents = np.asarray(latents, dtype=np.float32)
        channels = self.checkpoint.config.same.latent_dim
        if latents.ndim != 2 or latents.shape[0] != channels or not latents.shape[1]:
            raise RequestError(f"{self.name} decodes latents ({channels}, frames), found shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise RequestError("the latents hold values that are not finite")
        return latents[None]


def _mode(edit: Edit | None) -> str:
    if edit is None:
        return "generate"
    if edit.is_variation:
        return "vary"
    return "extend" if edit.samples > edit.source.shape[1] else "inpaint"


def _spread(value: Value | Sequence[Value], count: int) -> list[Value]:
    """Return a list as it is, and anything else so many times."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return [value] * count  # type: ignore[list-item]


def count_up(seed: int | None, count: int) -> list[int]:
    """Return a seed for each of several clips, counting up from a given or drawn one."""
    first = random_seed() if seed is None else seed
    return [(first + i) % SEED_LIMIT for i in range(count)] if count > 1 else [first]


def _guidance(guidance: float | Guidance | None) -> Guidance | None:
    return Guidance(guidance) if isinstance(guidance, int | float) else guidance


def _compat(compat: str | Compat) -> Compat:
    return Compat.named(compat) if isinstance(compat, str) else compat
