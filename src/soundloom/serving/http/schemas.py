"""The shapes of requests and answers. What a request to a model may hold is checked by its own class."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from soundloom.serving.comparison import Comparison
from soundloom.serving.jobs.resolve import JobBody, ResolvedClip
from soundloom.serving.storage.rows import Artifact, Job, Take


class Strict(BaseModel):
    """A body without unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class JobIn(Strict):
    """A job: `request` is the record of a request, as files of soundloom carry it; `source` a take or an upload."""

    kind: Literal["generate", "vary", "inpaint", "extend", "loop", "edit"] = "generate"
    model: str | None = Field(None, max_length=200)
    request: dict[str, Any] = Field(default_factory=dict)
    source: str | None = Field(None, max_length=100)
    count: int = Field(1, ge=1, le=100)
    loras: list[dict[str, Any]] = Field(default_factory=list, max_length=16)
    lora_combine: Literal["chain", "sum"] | None = None
    lora_seconds: Literal["first", "all", "none"] | None = None
    job_class: Literal["interactive", "batch"] = Field("interactive", alias="class")
    parent: str | None = Field(None, max_length=100)

    def body(self, default_model: str) -> JobBody:
        return JobBody(
            self.kind,
            self.request,
            self.model or default_model,
            self.source,
            self.count,
            tuple(self.loras),
            self.lora_combine,
            self.lora_seconds,
            self.job_class,
            self.parent,
        )


class JobChange(Strict):
    """A new place in the queue: before another job, or at the end."""

    before: str | None = Field(None, max_length=100)


class TakeChange(Strict):
    """What users say about a take."""

    title: str | None = Field(None, max_length=200)
    note: str | None = Field(None, max_length=10_000)
    favorite: bool | None = None
    tags: list[str] | None = Field(None, max_length=50)


class ItemOut(BaseModel):
    """A clip of a job."""

    number: int
    state: str
    seed: int | None
    take: str | None
    error: dict[str, Any] | None


_ITEM_FIELDS = ("number", "state", "take", "error")


class JobOut(BaseModel):
    """A job and its clips."""

    id: str
    kind: str
    model: str
    state: str
    reason: str | None
    attempt: int
    job_class: str = Field(serialization_alias="class")
    client: str
    created: float
    started: float | None
    ended: float | None
    request: dict[str, Any]
    source: str | None
    items: list[ItemOut]
    progress: dict[str, Any] | None = None

    @classmethod
    def of(cls, job: Job) -> JobOut:
        items = [
            ItemOut(seed=item.request.get("seed"), **{name: getattr(item, name) for name in _ITEM_FIELDS})
            for item in job.items
        ]
        same = ("id", "kind", "model", "state", "reason", "attempt", "job_class", "client")
        times = ("created", "started", "ended")
        return cls(
            **{name: getattr(job, name) for name in (*same, *times)},
            request=job.body["request"],
            source=job.body.get("source"),
            items=items,
        )


class ArtifactOut(BaseModel):
    """An audio file."""

    id: str
    bytes: int
    rate: int
    channels: int
    samples: int
    seconds: float
    subtype: str
    name: str
    missing: bool

    @classmethod
    def of(cls, artifact: Artifact) -> ArtifactOut:
        fields = asdict(artifact)
        return cls(id=fields.pop("hash"), seconds=artifact.seconds, **fields)


class UploadOut(ArtifactOut):
    """An uploaded file, and the record in its tags; empty if soundloom did not make it."""

    record: dict[str, Any]

    @classmethod
    def with_record(cls, artifact: Artifact, record: dict[str, Any]) -> UploadOut:
        return cls(**ArtifactOut.of(artifact).model_dump(), record=record)


class TakeOut(BaseModel):
    """An entry of the library."""

    id: str
    title: str
    prompt: str
    kind: str
    parent: str | None
    favorite: bool
    note: str
    tags: list[str]
    made: float
    deleted: float | None
    file: str | None = Field(description="its name in the output folder of the server")
    audio: ArtifactOut
    record: dict[str, Any]

    @classmethod
    def of(cls, take: Take) -> TakeOut:
        same = ("id", "title", "prompt", "kind", "parent", "favorite", "note", "made", "deleted", "file", "record")
        values = {name: getattr(take, name) for name in same}
        return cls(**values, tags=list(take.tags), audio=ArtifactOut.of(take.artifact))


class TakesOut(BaseModel):
    """A page of the library."""

    takes: list[TakeOut]
    count: int


class JumpOut(BaseModel):
    """An unusual step of the level, in dB, at a sample where new audio begins or ends."""

    at: int
    decibels: float


class ComparisonOut(BaseModel):
    """A take beside the one that it was made from. Positions are samples of the take.

    Outside the spans in `new`, `outside` samples were to be kept, and `kept` of them are the same, bit for bit.
    """

    parent: str | None
    samples: int
    new: list[list[int]]
    offset: int
    outside: int
    kept: int
    identical: bool
    jumps: list[JumpOut]
    reason: str

    @classmethod
    def of(cls, found: Comparison, samples: int, parent: str | None) -> ComparisonOut:
        identical = 0 < found.outside == found.kept
        facts = asdict(found) | {"jumps": [JumpOut(at=at, decibels=decibels) for at, decibels in found.jumps]}
        return cls(parent=parent, samples=samples, identical=identical, **facts)


class ClipPlan(BaseModel):
    """What a clip of a job would be."""

    request: dict[str, Any]
    seconds: float
    frames: int
    notes: list[str]

    @classmethod
    def of(cls, clip: ResolvedClip) -> ClipPlan:
        return cls(request=clip.request, seconds=clip.seconds, frames=clip.frames, notes=list(clip.notes))


class CheckOut(BaseModel):
    """What a job would do."""

    model: str
    clips: list[ClipPlan]
    passes: int
    estimated_seconds: float
