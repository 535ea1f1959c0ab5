"""The model that a caller holds: text to sound, edits, and the autoencoder alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypedDict, Unpack, get_args, overload

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.checks import FAINT_LEVEL, Finding, Origin, check_audio, loudest, require_sound
from soundloom.audio.clip import Clip, Sound, as_clip, log_warnings
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.options import check_options
from soundloom.config.stable_audio.model import ModelConfig, ShiftConfig
from soundloom.config.stable_audio.request import Compat, GenerationRequest, Guidance, Region
from soundloom.engines.forks import require_threads
from soundloom.engines.registry import engine_class, require_device
from soundloom.engines.stable_audio import Component, Engine
from soundloom.errors import EngineError, RequestError, shown
from soundloom.pipeline.groups import good_clips, group_requests
from soundloom.pipeline.lineage import remembered, source_record
from soundloom.pipeline.progress import Listener, Stages
from soundloom.pipeline.requests import build_request, build_requests
from soundloom.pipeline.stable_audio.chunks import decode_chunks
from soundloom.pipeline.stable_audio.edits import require_addition
from soundloom.pipeline.stable_audio.passes import LongCreation, Task, begin
from soundloom.pipeline.stable_audio.plan import Item, Job
from soundloom.pipeline.stable_audio.run import MAX_BATCH, Run, decode_latents, encode_stream
from soundloom.pipeline.warnings import job_warnings
from soundloom.text.tokenizer import Tokenizer
from soundloom.text.vocabulary import CaptionVocabulary
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
    strict_words: bool
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
    keep_bad: bool = False,
    revision: str | None = None,
    offline: bool | None = None,
    accept_license: bool = False,
) -> Model:
    """Open a model by catalogue name, folder or file; weights are read when they are first needed.

    `keep_loaded` keeps every network in memory between calls, for servers and batches. `keep_bad` returns what is not
    usable sound with a warning instead of raising OutputError. The other options are for downloads. Raises
    ModelNotFoundError, CheckpointError, DownloadError or EngineError.
    """
    require_device(engine, device)
    checkpoint = open_checkpoint(source, revision=revision, offline=offline, accept_license=accept_license)
    made = make_engine(checkpoint, engine, device, precision)
    return Model(checkpoint, made, keep_loaded=keep_loaded, keep_bad=keep_bad)


def make_engine(
    checkpoint: Checkpoint, name: str = "auto", device: str | None = None, precision: str = "auto"
) -> Engine:
    """Build the engine of that name, "torch", "mlx" or "auto", for a checkpoint."""
    return engine_class(name)(checkpoint, device, precision)


class Model:
    """A checkpoint on an engine."""

    def __init__(
        self, checkpoint: Checkpoint, engine: Engine, *, keep_loaded: bool = False, keep_bad: bool = False
    ) -> None:
        self.checkpoint, self.engine, self.keep_loaded, self.keep_bad = checkpoint, engine, keep_loaded, keep_bad
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
        clip to clip. Raises RequestError, OutputError or Canceled.
        """
        check_options("generate", options, GenerateOptions.__annotations__)
        progress, cancel = options.pop("progress", None), options.pop("cancel", None)
        if isinstance(prompt, str):
            return self.run([build_request(prompt, options)], progress=progress, cancel=cancel)[0]
        return self.run(build_requests(prompt, options), progress=progress, cancel=cancel)

    def vary(
        self,
        clip: Sound,
        prompt: str | None = None,
        *,
        noise: float = 0.6,
        regions: Sequence[Region] = (),
        **options: Unpack[EditOptions],
    ) -> Clip:
        """Make a variation of a clip or a sound file: the higher `noise`, 0.01 to 1, the further from it.

        With `regions`, in seconds, only those are varied. The result has the clip's rate and length, and its channels
        where they are one or two. Without a prompt, an edit takes the one in the clip's record, and the settings
        (steps, sampler, guidance) where this model made it; an empty prompt leaves the edit to what is there.
        """
        check_options("vary", options, (*EditOptions.__annotations__, "noise", "regions"))
        return self._edit(as_clip(clip), prompt, options, noise=noise, regions=tuple(regions))

    def inpaint(
        self, clip: Sound, regions: Sequence[Region], prompt: str | None = None, **options: Unpack[EditOptions]
    ) -> Clip:
        """Make regions of a clip or a sound file anew, all in one pass; every sample outside them stays as it is.

        Regions are (start, end) in seconds; `soundloom.bars` gives them in bars and beats. Each border has a short
        crossfade, inside the region.
        """
        if not regions:
            raise RequestError("inpainting needs at least one region", "regions=[(1.0, 1.5)] renews half a second")
        check_options("inpaint", options, EditOptions.__annotations__)
        return self._edit(as_clip(clip), prompt, options, regions=tuple(regions))

    def extend(
        self,
        clip: Sound,
        seconds: float,
        prompt: str | None = None,
        *,
        before: bool = False,
        **options: Unpack[EditOptions],
    ) -> Clip:
        """Continue a clip or a sound file by so many seconds, or with `before` put as many in front of it.

        Longer than the model's limit, the work goes on in several passes, each hearing the end of the last.
        """
        check_options("extend", options, (*EditOptions.__annotations__, "before"))
        clip = as_clip(clip)
        require_addition(clip, seconds)
        if before:
            return self._edit(clip, prompt, options, offset=seconds)
        return self._edit(clip, prompt, options, seconds=clip.seconds + seconds)

    def _edit(self, clip: Clip, prompt: str | None, options: EditOptions, **edit: Any) -> Clip:
        progress, cancel = options.pop("progress", None), options.pop("cancel", None)
        taken = {"prompt": prompt} if prompt is not None else remembered(clip, self.name)
        request = build_request(taken.pop("prompt"), {**taken, **options, **edit, "source": clip})
        return self.run([request], progress=progress, cancel=cancel)[0]

    def run(
        self, requests: Sequence[GenerationRequest], *, progress: Listener | None = None, cancel: Event | None = None
    ) -> list[Clip]:
        """Carry out requests, those of equal length together, and return a clip for each."""
        made = dict(self.iter(requests, progress=progress, cancel=cancel))
        return [made[place] for place in range(len(requests))]

    def iter(
        self, requests: Sequence[GenerationRequest], *, progress: Listener | None = None, cancel: Event | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Carry out requests and yield the place and the clip of each as soon as it is finished.

        At most `MAX_BATCH` of equal length are made at once, so that memory does not grow with their number; networks
        stay loaded in between. Raises RequestError before any work; an OutputError about one clip comes when the
        others have been yielded.
        """
        entry = find_entry(self.name)
        default_seconds = entry.default_seconds if entry else DEFAULT_SECONDS
        groups = group_requests(requests, self.config, default_seconds, MAX_BATCH)
        self._require_known_words(requests)
        require_threads()
        return self._run_groups(requests, groups, default_seconds, Stages(self.engine, progress, cancel))

    def _run_groups(
        self, requests: Sequence[GenerationRequest], groups: list[list[int]], default_seconds: float, stages: Stages
    ) -> Iterator[tuple[int, Clip]]:
        run, logged = Run(self.engine, self.config, self.tokenizer, stages), set[str]()

        def make(places: Sequence[int]) -> list[Callable[[], Clip]]:
            tasks = [begin(requests[place], self.config, default_seconds) for place in places]
            stages.begin(len(places), len(requests))
            cut = self._run_passes(tasks, run, is_last=places is groups[-1])
            return [partial(self._clip, task, cut.get(i, "")) for i, task in enumerate(tasks)]

        try:
            for place, clip in good_clips(groups, make):
                log_warnings([clip], logged)
                yield place, clip
        except BaseException:  # Ctrl-C among them, and a caller who wants no more
            self._free(*get_args(Component))
            raise

    def _run_passes(self, tasks: Sequence[Task], run: Run, *, is_last: bool) -> dict[int, str]:
        """Carry tasks to their end; return what of their prompts did not fit, by the place of the task."""
        cut: dict[int, str] = {}
        while waiting := {i: item for i, task in enumerate(tasks) if (item := task.next_item()) is not None}:
            more = any(task.passes_left > 1 for task in tasks)
            run.keep_loaded = self.keep_loaded or more or not is_last
            for i, made in zip(waiting, run(list(waiting.values())), strict=True):
                tasks[i].findings += self._judge(waiting[i], made.audio)
                tasks[i].accept(made.audio)
            places = list(waiting)
            cut.update({places[place]: text for place, text in run.cut.items()})
        return cut

    def _free(self, *components: Component) -> None:
        """Let networks leave memory, unless they are kept."""
        if not self.keep_loaded:
            self.engine.free(*components)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of prompts."""
        if self._tokenizer is None:
            files = self.checkpoint.text_encoder
            if files is None:
                self.engine.load("text")  # which says what is missing
                raise RuntimeError("the text encoder loaded without its files")
            self._tokenizer = Tokenizer(files.tokenizer, files.config.pad_token_id, files.config.vocab_size)
        return self._tokenizer

    @property
    def caption_words(self) -> CaptionVocabulary | None:
        """The words that the model knows, where its configuration names them."""
        subjects = self.config.subject_words
        return CaptionVocabulary(self.tokenizer, subjects) if subjects else None

    def _require_known_words(self, requests: Sequence[GenerationRequest]) -> None:
        """Raise RequestError for a prompt of which the model knows no sound, where the request is strict."""
        for prompt in dict.fromkeys(request.prompt for request in requests if request.strict_words):
            words = self.caption_words
            if words and prompt.strip() and not words.names_subject(prompt):
                raise RequestError(words.no_subject_message(self.name), "name one of those")

    # Results

    def _clip(self, task: Task, cut: str) -> Clip:
        """Wrap what was made with the record of how. Raises OutputError where it is not usable sound."""
        job = task.job
        if isinstance(task, LongCreation):  # of which later passes were checked as continuations of a source
            task.findings += check_audio(task.clip({}).audio, task.rate, self._origin(job))
        if not self.keep_bad:
            require_sound(task.findings, f"{self.name}, prompt '{shown(job.request.prompt)}', seed {job.seed}")
        found = dict.fromkeys(finding.message for finding in task.findings)
        warnings = [*found, *task.notes, *job_warnings(job, cut, self.config, self.name, self.caption_words)]
        return task.clip(self._record(job, task, warnings))

    def _judge(self, item: Item, audio: np.ndarray) -> list[Finding]:
        """Check what is new of a pass (channels, samples)."""
        origin = self._origin(item.job)
        if item.audio is not None:
            faint = loudest(item.audio, self.sample_rate) < FAINT_LEVEL
            origin = replace(origin, has_source=True, is_faint_source=faint, is_region=bool(item.regions))
        if item.regions:
            audio = np.concatenate([audio[:, start:end] for start, end in item.regions], axis=1)
        return check_audio(audio, self.sample_rate, origin)

    def _origin(self, job: Job) -> Origin:
        return Origin(job.request.prompt, is_guided=job.guidance.scale != 1, precision=self.engine.precision)

    def _record(self, job: Job, task: Task, warnings: list[str]) -> dict[str, Any]:
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
            "license": self.checkpoint.license,
            "engine": self.engine.name,
            "device": self.engine.device,
            "precision": self.engine.precision,
            "seed": job.seed,
            "request": resolved.to_record(),
        }
        if job.request.source is not None:
            record["source"] = source_record(job.request.source)
        return record | ({"warnings": warnings} if warnings else {})

    # The autoencoder alone

    def encode(self, clip: Sound) -> np.ndarray:
        """Return the latents (channels, frames), float32, of a clip or sound file of any rate and channels."""
        clip = as_clip(clip)
        _, note = to_stereo(np.empty((clip.channels, 0)))
        if note:
            log.warning("%s", note)
        sound = clip.stream().stereo().resampled(clip.sample_rate, self.sample_rate)
        require_threads()
        try:
            return encode_stream(self.engine, self.checkpoint.config, sound)
        finally:
            self._free("encoder")

    def decode(self, latents: np.ndarray, samples: int | None = None) -> Clip:
        """Return the sound of latents (channels, frames), cut to so many samples if given."""
        require_threads()
        try:
            audio = decode_latents(self.engine, self.checkpoint.config, self._check_latents(latents))[0]
        finally:
            self._free("decoder")
        record = {"mode": "decode", "model": self.name, "model_hash": self.checkpoint.fingerprint}
        return Clip(audio[:, :samples], self.sample_rate, record)

    def decode_stream(self, latents: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the sound of latents piece by piece (2, samples), so that memory does not grow with length."""
        latents = self._check_latents(latents)
        require_threads()
        plan = decode_chunks(latents.shape[-1], self.checkpoint.config.same, "exact")
        pieces = plan.stream(latents, lambda piece: self.engine.decode(piece, None))
        try:
            for piece in pieces:
                yield piece[0]
        finally:  # also where nobody asks for the rest
            self._free("decoder")

    def _check_latents(self, latents: np.ndarray) -> np.ndarray:
        """Return latents as (1, channels, frames), float32."""
        latents = np.asarray(latents)
        channels = self.checkpoint.config.same.latent_dim
        if latents.dtype.kind not in "fiu":
            raise RequestError(f"latents are real numbers, found an array of {latents.dtype}")
        with np.errstate(over="ignore"):  # such numbers become infinite, which is refused below
            latents = latents.astype(np.float32, copy=False)
        if latents.ndim != 2 or latents.shape[0] != channels or not latents.shape[1]:
            raise RequestError(f"{self.name} decodes latents ({channels}, frames), found shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise RequestError("the latents hold values that are not finite")
        return latents[None]
