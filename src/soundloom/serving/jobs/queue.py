"""The jobs that have not ended, in memory; the database has them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from soundloom.serving.jobs.estimate import Fraction
from soundloom.serving.jobs.resolve import ResolvedClip
from soundloom.serving.jobs.scheduler import Waiting
from soundloom.serving.storage.rows import Job
from soundloom.serving.worker.messages import Working, WorkItem


@dataclass
class QueuedJob:
    """A job that has not ended. `pending` and `running` are numbers of its clips."""

    job: Job
    clips: Mapping[int, ResolvedClip]
    source: str | None = None  # file
    pending: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    is_canceling: bool = False
    is_ending: bool = False
    progress: Mapping[str, Any] | None = None  # of its last event
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unfinished(self) -> set[int]:
        """The clips that are not stored yet, if they can be made at all."""
        return (self.pending | self.running) & self.clips.keys()

    def put_back(self, number: int) -> None:
        """Return a clip to those that wait, unless it is stored; its end, or that of the job, may be stored again."""
        if number in self.running:
            self.running.discard(number)
            self.pending.add(number)
        self.is_ending = False

    def waiting(self) -> list[Waiting]:
        """Return what can run next. After a crash a job runs alone, so that it takes no other with it."""
        if self.is_canceling:
            return []
        job = self.job
        found = []
        for number in sorted(self.pending):
            clip = self.clips[number]
            key: Hashable = (job.model, clip.key) if not job.attempt else (job.id, clip.key)
            found.append(
                Waiting(
                    *(job.id, number, job.client, job.model, job.job_class, job.position),
                    key=key,
                    cost=clip.seconds_to_generate,
                )
            )
        return found

    def work(self, number: int) -> WorkItem:
        """Return the message about a clip."""
        clip = self.clips[number]
        return WorkItem(self.job.id, number, clip.family, clip.request, self.source)


def job_facts(job: Job) -> dict[str, Any]:
    """Return what listeners are told about a new job."""
    return {"id": job.id, "kind": job.kind, "model": job.model, "state": job.state, "items": len(job.items)}


def progress_facts(message: Working, fraction: Fraction) -> dict[str, Any]:
    """Return what listeners are told about a job that runs."""
    return {
        "stage": message.stage,
        "step": message.step,
        "steps": message.steps,
        "seconds": round(message.seconds, 3),
        "finished": message.finished,
        "time": time.time(),  # so that clients can tell which of two reports is the newer one
        "fraction": round(fraction.value, 3),
        "seconds_left": round(fraction.seconds_left(), 1),
    }
