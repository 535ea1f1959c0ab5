"""Turn what a client asks for into requests: one for each clip, checked against the model, with its seed."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.checkpoints.installed import is_installed
from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import ModelNotFoundError, RequestError, shown
from soundloom.pipeline.musicgen.plan import plan as plan_music
from soundloom.pipeline.requests import spread_seed
from soundloom.pipeline.stable_audio.plan import batch_key, default_seconds, plan, plan_pass
from soundloom.serving.jobs.adapters import adapter_stack
from soundloom.serving.jobs.settings import TooLargeError
from soundloom.serving.storage.rows import JobClass

SAMPLE_BYTES, RECORD_BYTES = 4, 16_384  # in a stored file
KINDS = ("generate", "vary", "inpaint", "extend", "loop", "edit")
VARIATION_NOISE = 0.6
MAX_COUNT = 100  # clips of a job
MAX_REQUEST = 2**16  # characters of a request as JSON


@dataclass(frozen=True)
class JobBody:
    """What a client asks for: `request` is the record of a request, `source` the id of a take or an artifact."""

    kind: str
    request: Mapping[str, Any]
    model: str = ""
    source: str | None = None
    count: int = 1
    loras: tuple[Mapping[str, Any], ...] = ()
    lora_combine: str | None = None
    lora_seconds: str | None = None
    job_class: JobClass = "interactive"
    parent: str | None = None


@dataclass(frozen=True)
class ResolvedClip:
    """A clip of a job as it will run: its request as JSON, and what it costs."""

    request: dict[str, Any]
    family: str
    key: Hashable  # clips with the same key can share a pass
    seconds: float  # of the result
    seconds_to_generate: float  # in all passes
    frames: int  # latent frames of all passes
    passes: int  # one after the other
    notes: tuple[str, ...]
    bytes: int  # of its file, about


@dataclass(frozen=True)
class KnownModel:
    """A model that the server may run."""

    name: str
    config: ModelConfig | MusicGenConfig

    @property
    def is_music(self) -> bool:
        return isinstance(self.config, MusicGenConfig)

    @classmethod
    def open(cls, name: str, sources: Mapping[str, str], allowed: Sequence[str] = ()) -> KnownModel:
        """Return a model by its name in the catalogue or in `sources`; without `allowed`, all of them may be used.

        Raises ModelNotFoundError for any other.
        """
        entry = find_entry(name.partition("@")[0])
        require_allowed(name, allowed)
        if name in sources:
            source = sources[name]
            config = (open_music(source) if is_music(source) else open_checkpoint(source)).config
        elif entry is not None and entry.public:
            config = parse(MusicGenConfig, entry.config()) if entry.is_musicgen else entry.parsed_config()
        else:
            raise ModelNotFoundError(f"there is no model named {shown(name)!r}", "GET /v1/models lists the models")
        if not isinstance(config, ModelConfig | MusicGenConfig):
            raise RequestError(f"{name} is an autoencoder alone and cannot generate", "use mini or small-music")
        return cls(name, config)


def require_allowed(name: str, allowed: Sequence[str]) -> None:
    """Raise ModelNotFoundError for a model that is not among those that may be used; without any, all may."""
    if allowed and name not in allowed and name.partition("@")[0] not in allowed:
        raise ModelNotFoundError(f"the server has no model {shown(name)!r}", f"it has {', '.join(allowed)}")


def require_installed(name: str, sources: Mapping[str, str]) -> None:
    """Raise ModelNotFoundError for a model of the catalogue whose weights are not on this machine."""
    entry = None if name in sources else find_entry(name.partition("@")[0])
    if entry is not None and not is_installed(entry):
        pull = f"soundloom models pull {name}"
        raise ModelNotFoundError(f"{name} is not downloaded", f"POST /v1/models/{name}/pull, or on its machine: {pull}")


def resolve(body: JobBody, model: KnownModel, source: Clip | None) -> list[ResolvedClip]:
    """Return the clips of a job. Raises RequestError, ModelNotFoundError or CheckpointError."""
    if (length := len(json.dumps(body.request, ensure_ascii=False))) > MAX_REQUEST:
        raise TooLargeError(f"the request has {length} characters, more than {MAX_REQUEST}", "shorten its prompt")
    if body.kind not in KINDS:
        raise RequestError(f"there is no kind of job named {shown(body.kind)!r}", f"use {', '.join(KINDS)}")
    if isinstance(body.count, bool) or not isinstance(body.count, int) or not 1 <= body.count <= MAX_COUNT:
        raise RequestError(f"count must be between 1 and {MAX_COUNT}, found {shown(body.count)}")
    if (source is None) != (body.kind == "generate"):
        needed = "needs no source" if body.kind == "generate" else "needs a source"
        raise RequestError(f"a job of kind {body.kind} {needed}", "upload a file, or name a take")
    request = _music_request(body, source) if model.is_music else _request(body, source)
    requests = [replace(request, seed=seed).to_record() for seed in spread_seed(request.seed, body.count)]
    return plan_clips(body.kind, model, requests, source)


def plan_clips(
    kind: str, model: KnownModel, requests: Sequence[Mapping[str, Any]], source: Clip | None
) -> list[ResolvedClip]:
    """Plan the clips of a job from their stored requests. Raises RequestError for what the model cannot do."""
    if isinstance(model.config, MusicGenConfig):
        music = [MusicRequest.from_record(request, source=source) for request in requests]
        return _plan_music(model.config, music)
    return _plan_stable_audio(
        kind, model.name, model.config, [GenerationRequest.from_record(request, source) for request in requests]
    )


def _plan_stable_audio(
    kind: str, name: str, config: ModelConfig, requests: Sequence[GenerationRequest]
) -> list[ResolvedClip]:
    found = []
    for clip in plan(requests, config, default_seconds(name)).clips:
        _require_kind(kind, clip.mode)
        passes = [plan_pass(clip, config, number) for number in range(len(clip.windows))]
        seconds = sum(one.frames for one in passes) * config.same.downsampling_ratio / config.sample_rate
        request = clip.request.to_record() | {"seed": clip.seed}
        key = name, batch_key(passes[0]), len(passes)
        size = file_bytes(clip.samples, clip.channels)
        frames = sum(one.frames for one in passes)
        found.append(
            ResolvedClip(request, "stable-audio", key, clip.seconds, seconds, frames, len(passes), clip.notes, size)
        )
    return found


def _plan_music(config: MusicGenConfig, requests: Sequence[MusicRequest]) -> list[ResolvedClip]:
    planned = plan_music(requests, config)
    found = []
    for clip in planned.clips:
        seconds, frames = clip.samples / config.sample_rate, config.encodec.frames(clip.samples)
        notes = (*planned.notices, *clip.notes)
        request = clip.request.to_record(seed=clip.seed)
        size = file_bytes(clip.samples, clip.channels)
        found.append(ResolvedClip(request, "musicgen", clip.batch_key, seconds, seconds, frames, 1, notes, size))
    return found


def file_bytes(samples: int, channels: int) -> int:
    """Return about how long the file of a clip is."""
    return samples * channels * SAMPLE_BYTES + RECORD_BYTES


def _request(body: JobBody, source: Clip | None) -> GenerationRequest:
    if body.kind == "edit":
        raise RequestError("only Instruct-MusicGen follows instructions", "use instruct-musicgen, or another kind")
    request = GenerationRequest.from_record(_with_defaults(body), source)
    if not body.loras:
        if body.lora_combine or body.lora_seconds:
            raise RequestError("lora_combine and lora_seconds need adapters", "name some in loras")
        return request
    return replace(request, loras=adapter_stack(body.loras, body.lora_combine, body.lora_seconds, body.model))


def _music_request(body: JobBody, source: Clip | None) -> MusicRequest:
    if body.kind not in ("generate", "edit"):
        raise RequestError(f"MusicGen models cannot {body.kind} audio", "use a Stable Audio model")
    if body.loras:
        raise RequestError("MusicGen models take no adapters", "leave out loras")
    return MusicRequest.from_record(body.request, source=source)


def _with_defaults(body: JobBody) -> dict[str, Any]:
    record = dict(body.request)
    if body.kind == "vary" and "noise" not in record:
        record["noise"] = VARIATION_NOISE
    if body.kind == "loop":
        record["loop"] = True
    if body.kind == "inpaint" and not record.get("regions"):
        raise RequestError("inpainting needs at least one region", '"regions": [[1.0, 1.5]] regenerates half a second')
    return record


def _require_kind(kind: str, mode: str) -> None:
    """Raise RequestError if a request does something else than its job says."""
    allowed = {"vary": ("vary", "inpaint"), "extend": ("extend",), "inpaint": ("inpaint",), "loop": ("loop",)}
    if mode not in allowed.get(kind, (mode,)):
        hint = {"extend": "give seconds, the length of the result, or offset"}.get(kind, "leave out seconds and offset")
        raise RequestError(f"a job of kind {kind} was asked for, and its request would {mode} the source", hint)
