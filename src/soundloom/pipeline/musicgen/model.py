"""The model that a caller holds of MusicGen: words to music, and with the Instruct adapter, sound edited by words.

The networks are mono. A sound to be edited is heard as the mean of its channels; what is made goes to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Event
from typing import Any, TypedDict, Unpack, get_args, overload

import numpy as np

from soundloom.audio.checks import Origin, check_audio, require_sound
from soundloom.audio.clip import Clip, Sound, as_clip, log_warnings
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.options import check_options
from soundloom.engines.forks import require_threads
from soundloom.engines.musicgen import MusicComponent, MusicEngine
from soundloom.errors import RequestError, shown
from soundloom.pipeline.groups import good_clips
from soundloom.pipeline.lineage import source_record
from soundloom.pipeline.musicgen.run import MusicJob, MusicRun, as_heard, make_jobs
from soundloom.pipeline.progress import Listener, Stages
from soundloom.pipeline.requests import spread_seed
from soundloom.pipeline.stable_audio.plan import places_alike
from soundloom.pipeline.stable_audio.run import MAX_BATCH
from soundloom.text.t5_tokens import T5Tokenizer
from soundloom.version import __version__


class _Common(TypedDict, total=False):
    """Options of every call; see `MusicRequest` for those that describe the sound.

    `progress` hears `Progress` events, `cancel` stops the work between two steps.
    """

    seed: int | Sequence[int | None] | None
    temperature: float
    top_k: int | None
    top_p: float
    guidance: float
    progress: Listener | None
    cancel: Event | None


class MusicOptions(_Common, total=False):
    """Options of `MusicModel.generate`; `seconds` may be a list, one for each prompt."""

    seconds: float | Sequence[float | None] | None


class MusicEditOptions(_Common, total=False):
    """Options of `MusicModel.edit`; `window` is in seconds."""

    window: float | None
    raw: bool


class MusicModel:
    """A MusicGen checkpoint on an engine; see `soundloom.load`."""

    def __init__(
        self, checkpoint: MusicGenCheckpoint, engine: MusicEngine, *, keep_loaded: bool = False, keep_bad: bool = False
    ) -> None:
        self.checkpoint, self.engine, self.keep_loaded, self.keep_bad = checkpoint, engine, keep_loaded, keep_bad
        self._tokenizer: T5Tokenizer | None = None

    @property
    def name(self) -> str:
        return self.checkpoint.name

    @property
    def config(self) -> MusicGenConfig:
        return self.checkpoint.config

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def tokenizer(self) -> T5Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = T5Tokenizer(self.checkpoint.tokenizer, self.config.t5)
        return self._tokenizer

    @overload
    # A str is also a sequence of them; the first signature wins for it.
    def generate(self, prompt: str, **options: Unpack[MusicOptions]) -> Clip: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompt: Sequence[str], **options: Unpack[MusicOptions]) -> list[Clip]: ...
    def generate(self, prompt: str | Sequence[str], **options: Unpack[MusicOptions]) -> Clip | list[Clip]:
        """Make music from a prompt, or a list of clips from a list of prompts.

        With a list, `seconds` and `seed` may be lists of the same length; one seed counts up from clip to clip.
        Raises RequestError, OutputError or Canceled.
        """
        check_options("generate", options, MusicOptions.__annotations__)
        progress, cancel = options.pop("progress", None), options.pop("cancel", None)
        requests = _requests(prompt, dict(options))
        clips = self.run(requests, progress=progress, cancel=cancel)
        return clips[0] if isinstance(prompt, str) else clips

    @overload
    def edit(self, clip: Sound, instruction: str, **options: Unpack[MusicEditOptions]) -> Clip: ...  # type: ignore[overload-overlap]
    @overload
    def edit(self, clip: Sound, instruction: Sequence[str], **options: Unpack[MusicEditOptions]) -> list[Clip]: ...
    def edit(
        self, clip: Sound, instruction: str | Sequence[str], **options: Unpack[MusicEditOptions]
    ) -> Clip | list[Clip]:
        """Edit a clip or sound file by an instruction such as "Only drums", or once by each of several.

        The result has the clip's rate, length and channels, which all hold the same sound. Raises RequestError,
        OutputError or Canceled.
        """
        check_options("edit", options, MusicEditOptions.__annotations__)
        progress, cancel = options.pop("progress", None), options.pop("cancel", None)
        requests = _requests(instruction, {**options, "source": as_clip(clip)})
        clips = self.run(requests, progress=progress, cancel=cancel)
        return clips[0] if isinstance(instruction, str) else clips

    def run(
        self, requests: Sequence[MusicRequest], *, progress: Listener | None = None, cancel: Event | None = None
    ) -> list[Clip]:
        """Carry out requests, those of equal length together, and return a clip for each."""
        made = dict(self.iter(requests, progress=progress, cancel=cancel))
        return [made[place] for place in range(len(requests))]

    def iter(
        self, requests: Sequence[MusicRequest], *, progress: Listener | None = None, cancel: Event | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Carry out requests and yield the place and the clip of each as soon as it is finished.

        At most `MAX_BATCH` of equal length are made at once, so that memory does not grow with their number; networks
        stay loaded in between. Raises RequestError before any work; an OutputError about one clip comes when the
        others have been yielded.
        """
        jobs = make_jobs(requests, self.config)
        require_threads()
        return self._run_groups(jobs, places_alike([job.batch for job in jobs], MAX_BATCH), progress, cancel)

    def _run_groups(
        self, jobs: list[MusicJob], groups: list[list[int]], progress: Listener | None, cancel: Event | None
    ) -> Iterator[tuple[int, Clip]]:
        stages, logged = Stages(self.engine, progress, cancel), set[str]()
        run = MusicRun(self.engine, self.config, self.tokenizer, stages)

        def make(places: Sequence[int]) -> list[Callable[[], Clip]]:
            stages.begin(len(places), len(jobs))
            run.keep_loaded = self.keep_loaded or places is not groups[-1]
            group = [jobs[place] for place in places]
            return [partial(self._clip, job, sound) for job, sound in zip(group, run(group), strict=True)]

        try:
            for place, clip in good_clips(groups, make):
                log_warnings([clip], logged)
                yield place, clip
        except BaseException:  # Ctrl-C among them, and a caller who wants no more
            self._free(*get_args(MusicComponent))
            raise

    def encode(self, clip: Sound) -> np.ndarray:
        """Return the codes (codebooks, frames) of a clip or sound file of any rate and number of channels."""
        clip = as_clip(clip)
        if not clip.samples:
            raise RequestError("the sound to encode has no samples")
        require_threads()
        try:
            return self.engine.encode(as_heard(clip, self.sample_rate)[None])[0]
        finally:
            self._free("codec")

    def decode(self, codes: np.ndarray) -> Clip:
        """Return the sound of codes (codebooks, frames)."""
        codes = np.asarray(codes)
        stages, entries = self.config.encodec.num_quantizers, self.config.encodec.codebook_size
        if codes.ndim != 2 or codes.shape[0] != stages or not codes.size or not np.issubdtype(codes.dtype, np.integer):
            raise RequestError(f"{self.name} decodes integers ({stages}, frames), found shape {codes.shape}")
        if codes.min() < 0 or codes.max() >= entries:
            raise RequestError(f"codes lie between 0 and {entries - 1}, found {codes.min()} to {codes.max()}")
        record = {"mode": "decode", "model": self.name, "model_hash": self.checkpoint.fingerprint}
        require_threads()
        try:
            return Clip(self.engine.decode(codes[None].astype(np.int64))[0], self.sample_rate, record)
        finally:
            self._free("codec")

    def _free(self, *components: MusicComponent) -> None:
        """Let networks leave memory, unless they are kept."""
        if not self.keep_loaded:
            self.engine.free(*components)

    def _clip(self, job: MusicJob, sound: np.ndarray) -> Clip:
        """Check what was made and wrap it with the record of how."""
        request, is_guided = job.request, job.request.guidance != 1
        # An edit may rightly be silent: of silence, or of what is left when the only instrument goes.
        origin = Origin(
            request.prompt,
            has_source=job.is_edit,
            is_region=job.is_edit,
            is_guided=is_guided,
            precision=self.engine.precision,
        )
        findings = check_audio(sound, job.rate, origin)
        if not self.keep_bad:
            require_sound(findings, f"{self.name}, prompt '{shown(request.prompt)}', seed {job.seed}")
        warnings = [*(found.message for found in findings), *job.notes]
        source_format = request.source.source_format if request.source else None
        return Clip(sound, job.rate, self._record(job, warnings), source_format)

    def _record(self, job: MusicJob, warnings: list[str]) -> dict[str, Any]:
        record: dict[str, Any] = {
            "soundloom": __version__,
            "mode": "edit" if job.is_edit else "generate",
            "model": self.name,
            "model_hash": self.checkpoint.fingerprint,
            "license": self.checkpoint.license,
            "engine": self.engine.name,
            "device": self.engine.device,
            "precision": self.engine.precision,
            "seed": job.seed,
            "understood": job.text,
            "request": job.record(),
        }
        if job.request.source is not None:
            record["source"] = source_record(job.request.source)
        return record | ({"warnings": warnings} if warnings else {})


def _requests(prompt: str | Sequence[str], options: dict[str, Any]) -> list[MusicRequest]:
    """Build a request for each prompt, spreading options that hold for all."""
    if isinstance(prompt, str):
        return [MusicRequest(prompt, **options)]
    lists: dict[str, list[Any]] = {"seed": spread_seed(options.pop("seed", None), len(prompt))}
    if isinstance(options.get("seconds"), Sequence):
        lists["seconds"] = list(options.pop("seconds"))
    for name, values in lists.items():
        if len(values) != len(prompt):
            raise RequestError(f"{len(prompt)} prompts were given and {len(values)} values of {name}")
    each: list[dict[str, Any]] = [{name: values[i] for name, values in lists.items()} for i in range(len(prompt))]
    return [MusicRequest(text, **options, **own) for text, own in zip(prompt, each, strict=True)]
