"""The model that a caller holds: text to sound, edits, and the autoencoder alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, TypedDict, Unpack, get_args, overload

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.checks import check_audio, require_sound
from soundloom.audio.clip import Clip, log_warnings
from soundloom.checkpoints.open import Checkpoint, open_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.models import ModelConfig, ShiftConfig
from soundloom.config.requests import SEED_LIMIT, Compat, GenerationRequest, Guidance, Region
from soundloom.config.values import whole
from soundloom.diffusion.noise import random_seed
from soundloom.engines.base import Component, Engine
from soundloom.engines.choose import engine_class, require_device
from soundloom.errors import EngineError, OutputError, RequestError
from soundloom.pipeline.chunks import decode_chunks
from soundloom.pipeline.edits import Creation, Edit, begin, require_addition
from soundloom.pipeline.plan import Job
from soundloom.pipeline.run import Run, decode_latents, encode_stream
from soundloom.pipeline.stages import Listener, Stages
from soundloom.text.tokenizer import Tokenizer, Tokens
from soundloom.version import __version__

log = logging.getLogger("soundloom")
DEFAULT_SECONDS = 30.0


class _Common(TypedDict, total=False):
    """Options of every call; see `GenerationRequest` for those that describe the sound.

    `progress` hears `Progress` events, `cancel` stops the work between two steps.
    """

    steps: int | None
    sampler: str | None
    guidance: float | Guidance | None
    shift: ShiftConfig | None
    duration_padding: float
    compat: str | Compat
    progress: Listener | None
    cancel: Event | None


class GenerateOptions(_Common, total=False):
    """Options of `Model.generate`."""

    negative_prompt: str | Sequence[str | None] | None
    seconds: float | Sequence[float | None] | None
    seed: int | Sequence[int | None] | None


class EditOptions(_Common, total=False):
    """Options of `Model.vary`, `Model.inpaint` and `Model.extend`; the crossfade is in seconds."""

    negative_prompt: str | None
    seed: int | None
    crossfade: float


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
    require_device(engine, device)
    checkpoint = open_checkpoint(source, revision=revision, offline=offline, accept_licence=accept_licence)
    return Model(checkpoint, make_engine(checkpoint, engine, device, precision), keep_loaded=keep_loaded)


def make_engine(
    checkpoint: Checkpoint, name: str = "auto", device: str | None = None, precision: str = "auto"
) -> Engine:
    """Build the engine of that name, "torch", "mlx" or "auto", for a checkpoint."""
    return engine_class(name)(checkpoint, device, precision)


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
                f"{self.name} is an autoencoder alone and cannot generate",
                "it can encode and decode; to generate, load mini",
            )
        return self.checkpoint.config

    # Making and editing sound

    @overload
    # A str is also a sequence of them; the first signature wins for it.
    def generate(self, prompt: str, **options: Unpack[GenerateOptions]) -> Clip: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompt: Sequence[str], **options: Unpack[GenerateOptions]) -> list[Clip]: ...
    def generate(self, prompt: str | Sequence[str], **options: Unpack[GenerateOptions]) -> Clip | list[Clip]:
        """Make sound from a prompt, or a list of clips from a list of prompts.

        With a list, `negative_prompt`, `seconds` and `seed` may be lists of the same length; one seed counts up from
        clip to clip. Raises RequestError, OutputError or Cancelled.
        """
        progress, cancel = options.pop("progress", None), options.pop("cancel", None)
        if isinstance(prompt, str):
            return self.run([_request(prompt, options)], progress=progress, cancel=cancel)[0]
        return self.run(_requests(prompt, options), progress=progress, cancel=cancel)

    def vary(
        self,
        clip: Clip,
        prompt: str = "",
        *,
        noise: float = 0.6,
        regions: Sequence[Region] = (),
        **options: Unpack[EditOptions],
    ) -> Clip:
        """Make a variation of a clip: the higher `noise`, 0.01 to 1, the further from it.

        With `regions`, in seconds, only those are varied. The result has the clip's rate and length, and its channels
        where they are one or two.
        """
        return self._edit(clip, prompt, options, noise=noise, regions=tuple(regions))

    def inpaint(self, clip: Clip, regions: Sequence[Region], prompt: str = "", **options: Unpack[EditOptions]) -> Clip:
        """Make regions of a clip anew, all in one pass; every sample outside them stays as it is.

        Regions are (start, end) in seconds; `soundloom.bars` gives them in bars and beats. Each border has a short
        crossfade, inside the region.
        """
        if not regions:
            raise RequestError("inpainting needs at least one region", "regions=[(1.0, 1.5)] renews half a second")
        return self._edit(clip, prompt, options, regions=tuple(regions))

    def extend(
        self, clip: Clip, seconds: float, prompt: str = "", *, before: bool = False, **options: Unpack[EditOptions]
    ) -> Clip:
        """Continue a clip by so many seconds, or with `before` put as many in front of it.

        Longer than the model's limit, the work goes on in several passes, each hearing the end of the last.
        """
        require_addition(clip, seconds)
        if before:
            return self._edit(clip, prompt, options, offset=seconds)
        return self._edit(clip, prompt, options, seconds=clip.seconds + seconds)

    def _edit(self, clip: Clip, prompt: str, options: EditOptions, **edit: Any) -> Clip:
        progress, cancel = options.pop("progress", None), options.pop("cancel", None)
        request = _request(prompt, {**options, **edit, "source": clip})
        return self.run([request], progress=progress, cancel=cancel)[0]

    def run(
        self, requests: Sequence[GenerationRequest], *, progress: Listener | None = None, cancel: Event | None = None
    ) -> list[Clip]:
        """Carry out requests, those of equal length together, and return a clip for each."""
        config, entry = self.config, find_entry(self.name)
        default_seconds = entry.default_seconds if entry else DEFAULT_SECONDS
        tasks = [begin(request, config, default_seconds) for request in requests]
        try:
            cut = self._work_off(tasks, Stages(self.engine, progress, cancel))
        except BaseException:  # Ctrl-C among them
            self._leave(*get_args(Component))
            raise
        clips = [self._clip(task, cut.get(i, "")) for i, task in enumerate(tasks)]
        log_warnings(clips)
        return clips

    def _work_off(self, tasks: Sequence[Creation | Edit], stages: Stages) -> dict[int, str]:
        """Carry tasks to their end; return what of their prompts did not fit, by the place of the task."""
        cut: dict[int, str] = {}
        while waiting := {i: item for i, task in enumerate(tasks) if (item := task.next_item()) is not None}:
            more = any(task.passes_left > 1 for task in tasks)
            run = Run(self.engine, self.config, self._tokenize, stages, keep_loaded=self.keep_loaded or more)
            for i, made in zip(waiting, run(list(waiting.values())), strict=True):
                tasks[i].accept(made.audio)
            places = list(waiting)
            cut.update({places[place]: text for place, text in run.cut.items()})
        return cut

    def _leave(self, *components: Component) -> None:
        """Let networks leave memory, unless they are kept."""
        if not self.keep_loaded:
            self.engine.free(*components)

    def _tokenize(self, prompts: Sequence[str], length: int) -> Tokens:
        if self._tokenizer is None:
            files = self.checkpoint.text_encoder
            if files is None:
                self.engine.load("text")  # which says what is missing
                raise RuntimeError("the text encoder loaded without its files")
            self._tokenizer = Tokenizer(files.tokenizer, files.config.pad_token_id)
        return self._tokenizer(prompts, length)

    # Results

    def _clip(self, task: Creation | Edit, cut: str) -> Clip:
        """Check what was made and wrap it with the record of how."""
        job = task.job
        findings = check_audio(task.new_sound(), task.rate)
        # A kept part may be silent; only sound that is new as a whole is judged by more than being finite.
        judged = [f for f in findings if task.is_all_new or f.kind == "not_finite"]
        try:
            require_sound(judged)
        except OutputError as error:
            raise OutputError(f"{self.name}, prompt {job.request.prompt!r}, seed {job.seed}: {error}") from error
        warnings = [*(f.message for f in findings), *task.notes, *self._warnings(job, cut)]
        return task.clip(self._record(job, task, warnings))

    def _warnings(self, job: Job, cut: str) -> list[str]:
        warnings = []
        if cut:
            length = self.config.model.conditioning.prompt.max_length
            warnings.append(f"the prompt is longer than {length} tokens; this was not heard: {cut!r}")
        if job.guidance.scale != 1 and self.config.is_distilled:
            warnings.append(
                f"{self.name} is distilled: guidance {job.guidance.scale:g} doubles the work and mostly harms; use 1"
            )
        if job.guidance.scale == 1:
            idle = {
                "a negative prompt does": job.request.negative_prompt is not None,
                "settings of guidance do": job.guidance != Guidance(),
            }
            why = "nothing without guidance; give a scale above 1"
            warnings += [f"{what} {why}" for what, is_given in idle.items() if is_given]
        return warnings

    def _record(self, job: Job, task: Creation | Edit, warnings: list[str]) -> dict[str, Any]:
        resolved = replace(
            job.request,
            seconds=job.request.seconds if job.request.source else job.seconds,
            seed=job.seed,
            steps=job.steps,
            sampler=job.sampler,
            guidance=job.guidance,
            shift=job.shift,
        )
        record: dict[str, Any] = {
            "soundloom": __version__,
            "mode": task.mode,
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
        _, note = to_stereo(np.empty((clip.channels, 0)))
        if note:
            log.warning("%s", note)
        sound = clip.stream().stereo().resampled(clip.sample_rate, self.sample_rate)
        try:
            return encode_stream(self.engine, self.checkpoint.config, sound)
        finally:
            self._leave("encoder")

    def decode(self, latents: np.ndarray, samples: int | None = None) -> Clip:
        """Return the sound of latents (channels, frames), cut to so many samples if given."""
        try:
            audio = decode_latents(self.engine, self.checkpoint.config, self._check_latents(latents))[0]
        finally:
            self._leave("decoder")
        record = {"mode": "decode", "model": self.name, "model_hash": self.checkpoint.fingerprint}
        return Clip(audio[:, :samples], self.sample_rate, record)

    def decode_stream(self, latents: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the sound of latents piece by piece (2, samples), so that memory does not grow with length."""
        latents = self._check_latents(latents)
        plan = decode_chunks(latents.shape[-1], self.checkpoint.config.same, "exact")
        pieces = plan.stream(latents, lambda piece: self.engine.decode(piece, None))
        try:
            for piece in pieces:
                yield piece[0]
        finally:  # also where nobody asks for the rest
            self._leave("decoder")

    def _check_latents(self, latents: np.ndarray) -> np.ndarray:
        """Return latents as (1, channels, frames), float32."""
        latents = np.asarray(latents)
        channels = self.checkpoint.config.same.latent_dim
        if latents.dtype.kind not in "fiu":
            raise RequestError(f"latents are real numbers, found an array of {latents.dtype}")
        latents = latents.astype(np.float32, copy=False)
        if latents.ndim != 2 or latents.shape[0] != channels or not latents.shape[1]:
            raise RequestError(f"{self.name} decodes latents ({channels}, frames), found shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise RequestError("the latents hold values that are not finite")
        return latents[None]


def _request(prompt: str, options: Mapping[str, Any]) -> GenerationRequest:
    """Build a request from a caller's options, whose short forms are a guidance scale and the name of a `Compat`."""
    values = dict(options)
    if not isinstance(values.get("guidance"), Guidance | None):
        values["guidance"] = Guidance(values["guidance"])
    if isinstance(values.get("compat"), str):
        values["compat"] = Compat.named(values["compat"])
    return GenerationRequest(prompt, **values)


def _requests(prompts: Sequence[str], options: Mapping[str, Any]) -> list[GenerationRequest]:
    """Build a request for each prompt, spreading options that hold for all."""
    values = dict(options)
    values["seed"] = spread_seed(values.get("seed"), len(prompts))
    for name in ("negative_prompt", "seconds", "seed"):
        value = values.get(name)
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        values[name] = value if is_list else [value] * len(prompts)
        if len(values[name]) != len(prompts):
            raise RequestError(f"{len(prompts)} prompts were given and {len(values[name])} values of {name}")
    each = ("negative_prompt", "seconds", "seed")
    return [
        _request(prompt, {**values, **{name: values[name][i] for name in each}}) for i, prompt in enumerate(prompts)
    ]


def spread_seed(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Return a seed for each of several clips, counting up from a given or drawn one."""
    if isinstance(seed, Sequence):
        return list(seed)
    first = random_seed() if seed is None else whole("seed", seed)
    return [(first + i) % SEED_LIMIT for i in range(count)]
