"""The sessions of gary's clients: jobs that are polled, canceled when nobody polls, and forgotten some time later."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from soundloom.errors import SoundloomError
from soundloom.serving.dialects.run import encoded, take_of
from soundloom.serving.http.owners import find_take
from soundloom.serving.jobs.device import ActiveRun
from soundloom.serving.jobs.resolve import JobBody
from soundloom.serving.jobs.settings import JobEndedError, NotFoundError
from soundloom.serving.server import Server
from soundloom.serving.storage.rows import ENDED, Job

log = logging.getLogger(__name__)
UNPOLLED_SECONDS = 60.0  # until a job that nobody polls is canceled: the clients have no other way to cancel
KEPT_SECONDS = 1800.0
LOOK_SECONDS = 5.0
ID_LENGTH = 12
# Clients take errors with these words for a model that is still starting, and poll on.
STARTING = ("download", "loading model", "warmup", "warming", "huggingface", "initializing")
Work = Literal["generate", "transform"]


@dataclass
class Session:
    """A job of a client."""

    id: str
    job: str
    work: Work
    meta: dict[str, Any]
    subtype: str  # of the WAV file of the result
    made: float = field(default_factory=time.monotonic)
    polled: float = field(default_factory=time.monotonic)
    is_ended: bool = False


class Sessions:
    """The sessions of a server, in memory: a restart forgets them, while their clips stay in the library."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._sessions: dict[str, Session] = {}
        self._task: asyncio.Task[None] | None = None

    async def submit(self, body: JobBody, client: str, work: Work, meta: dict[str, Any], subtype: str) -> Session:
        """Submit a job. Raises SoundloomError for what cannot run."""
        job = await self.server.dispatcher.submit(body, f"gary {client}")
        seed = job.items[0].request.get("seed")
        session = Session(job.id[:ID_LENGTH], job.id, work, meta | {"seed": seed}, subtype)
        self._sessions[session.id] = session
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        return session

    async def poll(self, id: str, *, consume: bool = False) -> dict[str, Any]:
        """Return the state of a session, with the audio when it is finished. Raises NotFoundError."""
        session = self._sessions.get(id)
        if session is None:
            raise NotFoundError(f"unknown session: {id}")
        session.polled = time.monotonic()
        job = await self.server.dispatcher.get(session.job)
        if job.state not in ENDED:
            return self._progress(session, job)
        found = await self._end(session, job)
        if consume:
            self._sessions.pop(id, None)
        return found

    async def _end(self, session: Session, job: Job) -> dict[str, Any]:
        session.is_ended = True
        common = {"generation_in_progress": False, "transform_in_progress": False, "queue_status": {}}
        try:
            take = await find_take(self.server, take_of(job))
            data = await encoded(self.server, take, "wav", subtype=session.subtype, peak="clip")
        except SoundloomError as error:
            return {"success": False, **common, "progress": 0, "status": "failed", "error": _final(str(error))}
        seconds = round((job.ended or 0.0) - (job.started or 0.0), 3)
        meta = session.meta | {"generation_seconds": seconds, "take": take.id}
        meta |= {"warnings": take.record["warnings"]} if take.record.get("warnings") else {}
        audio = await asyncio.to_thread(base64.b64encode, data)
        return {
            "success": True,
            **common,
            "progress": 100,
            "status": "completed",
            "audio_data": audio.decode(),
            "meta": meta,
        }

    def _progress(self, session: Session, job: Job) -> dict[str, Any]:
        run = self._run(job.id)
        found: dict[str, Any] = {
            "success": True,
            "generation_in_progress": session.work == "generate",
            "transform_in_progress": session.work == "transform",
            "progress": 0 if run is None else min(99, int(100 * run.fraction.value)),
            "step": 0 if run is None or run.stage != "sample" else run.step,
            "total_steps": 0 if run is None or run.stage != "sample" else run.steps,
        }
        if run is None:
            return found | {"status": "queued", "queue_status": self._queue(job)}
        status = "encoding" if run.stage == "decode" else "generating"
        return found | {"status": status, "queue_status": {"status": "ready"}}

    def _run(self, job: str) -> ActiveRun | None:
        runs = (device.run for device in self.server.dispatcher.devices)
        return next((run for run in runs if run and any(item.job == job for item in run.items)), None)

    def _queue(self, job: Job) -> dict[str, Any]:
        """Return the place of a job that waits."""
        dispatcher = self.server.dispatcher
        waiting = sorted(one.job.position for one in dispatcher.queue.values() if one.pending and not one.running)
        position = sum(place < job.position for place in waiting) + 1
        if not any(device.run for device in dispatcher.devices) and position == 1:
            return {"status": "warming", "message": "the model is being read"}
        # Clients that see no change for long take the server for stalled; this number changes.
        seconds = round(sum(device.run.fraction.seconds_left() for device in dispatcher.devices if device.run))
        return {
            "status": "queued",
            "position": position,
            "total_queued": len(waiting),
            "message": f"place {position} of {len(waiting)} in the queue",
            "estimated_time": f"~{seconds}s",
            "estimated_seconds": seconds,
        }

    async def _watch(self) -> None:
        """Cancel jobs that nobody polls, and forget old sessions, as long as there are any."""
        while self._sessions:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for session in list(self._sessions.values()):
                if now - session.made > KEPT_SECONDS and now - session.polled > UNPOLLED_SECONDS:
                    self._sessions.pop(session.id, None)
                elif not session.is_ended and now - session.polled > UNPOLLED_SECONDS:
                    session.is_ended = True
                    await self._cancel(session)

    async def _cancel(self, session: Session) -> None:
        try:
            await self.server.dispatcher.cancel(session.job)
            log.info("job %s was canceled: nobody polled it", session.job)
        except (JobEndedError, NotFoundError):  # it ended in time
            return


def _final(text: str) -> str:
    """Return the message of an error without the words by which clients poll on."""
    if any(word in text.lower() for word in STARTING):
        return "the model is not available; the log of the server says more"
    return text
