"""Run requests as jobs of a server: submit them, follow them, and fetch their clips."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from soundloom.audio.clip import Clip, log_warnings
from soundloom.client.events import LOST, ServerEvent
from soundloom.client.protocol import ATTEMPTS, Call, Finished, NextEvent, Steps, ask, error_of
from soundloom.client.shapes import Job
from soundloom.client.takes import TakeClip, fetch_take, upload
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.adapters import AdapterStack
from soundloom.config.stable_audio.request import SEED_LIMIT, GenerationRequest
from soundloom.errors import Canceled, OutputError, RequestError, ServerError, SoundloomError
from soundloom.pipeline.progress import Progress, ProgressCallback
from soundloom.pipeline.provenance import source_record

ENDED = ("succeeded", "failed", "canceled")
MAX_COUNT = 100  # clips of a job
MAX_JOBS = 50  # of a call at the same time
SLOW_WAIT = 20.0  # seconds for an answer about a job, and without news of it by events until it is asked for
POLL_WAIT = 0.25  # the same while there are no events, such as behind a proxy that holds them back
EVENT_WAIT = 0.1  # seconds between looks whether the caller canceled
Request = GenerationRequest | MusicRequest


@dataclass
class Task:
    """Requests that differ by their seed alone, which counts up: one job. `indices` are their places in the call."""

    request: Request
    indices: list[int]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))  # makes repeated calls one job
    body: dict[str, Any] | None = None
    id: str = ""


@dataclass(frozen=True)
class Watch:
    """What the caller of a model may pass: a callback, and an event that cancels."""

    progress: ProgressCallback | None = None
    cancel: Event | None = None

    @property
    def is_live(self) -> bool:
        """Whether the caller wants to know or to decide something while a job runs."""
        return self.progress is not None or self.cancel is not None

    def require_not_canceled(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Canceled("stopped by the caller; the job of the server was canceled")


def run_requests(server: str, model: str, requests: Sequence[Request], watch: Watch) -> Steps[None]:
    """Run requests, and yield each clip when it is finished.

    An interruption of any kind cancels what the server has not finished. As with a model, a clip that is not usable
    does not cost the others: its OutputError is raised after they have been yielded.
    """
    waiting, active = deque(tasks_of(requests)), deque[Task]()
    uploaded: dict[int, str] = {}  # by the id of the object
    failures: list[OutputError] = []
    logged = set[str]()
    news = _News()
    try:
        if watch.is_live:
            yield NextEvent(0)  # connects before the first job can start
        while waiting or active:
            while waiting and len(active) < MAX_JOBS:
                watch.require_not_canceled()
                task = waiting[0]
                if (source := task.request.source) is not None and id(source) not in uploaded:
                    uploaded[id(source)] = yield from upload(server, source)
                task.body = _body(task, model, None if source is None else uploaded[id(source)])
                active.append(waiting.popleft())
                task.id = (yield from _submit(task))["id"]
            yield from _follow(server, active[0], watch, len(requests), failures, logged, news)
            active.popleft()
    except BaseException as error:  # including Ctrl-C, and a caller that needs no more clips
        yield from _cancel_all(active, was_interrupted=not isinstance(error, SoundloomError))
        raise
    if failures:
        raise failures[0]


def _cancel_all(tasks: Iterable[Task], was_interrupted: bool) -> Steps[None]:
    """Cancel jobs as far as the server answers; one that was being submitted may have been accepted."""
    with suppress(ServerError):
        for task in tasks:
            with suppress(RequestError):
                if not task.id and was_interrupted:
                    task.id = (yield from _submit(task, attempts=1))["id"]
                if task.id:
                    yield from cancel_job(task.id, attempts=1)


def tasks_of(requests: Iterable[Request]) -> list[Task]:
    """Return the jobs for requests."""
    tasks: list[Task] = []
    for index, request in enumerate(requests):
        if tasks and len(tasks[-1].indices) < MAX_COUNT and _continues(tasks[-1], request):
            tasks[-1].indices.append(index)
        else:
            tasks.append(Task(request, [index]))
    return tasks


def _continues(task: Task, request: Request) -> bool:
    """Whether a request is the next one of a job: the same with the next seed."""
    first = task.request
    if first.seed is None or request.seed is None or type(first) is not type(request):
        return False
    if request.seed != (first.seed + len(task.indices)) % SEED_LIMIT or request.source is not first.source:
        return False
    return replace(request, seed=None, source=first.source) == replace(first, seed=None)


def cancel_job(job: str, attempts: int = ATTEMPTS) -> Steps[Job]:
    """Cancel a job. Raises RequestError if it has ended."""
    found: Job = (yield from ask(Call("POST", f"/v1/jobs/{job}/cancel"), attempts)).json()
    return found


def _submit(task: Task, attempts: int = ATTEMPTS) -> Steps[Job]:
    call = Call("POST", "/v1/jobs", body=task.body, headers={"Idempotency-Key": task.key})
    found: Job = (yield from ask(call, attempts)).json()
    return found


def _body(task: Task, model: str, source: str | None) -> dict[str, Any]:
    request = task.request
    record = request.to_record()
    body: dict[str, Any] = {"kind": kind_of(request), "model": model, "count": len(task.indices)}
    if isinstance(request, GenerationRequest):
        if body["kind"] == "vary":
            record["noise"] = request.noise  # which the server chooses where it is not named
        if request.loras is not None:
            body |= _adapters(request, request.loras, record.pop("loras"))
    return body | {"request": record} | ({} if source is None else {"source": source})


def kind_of(request: Request) -> str:
    """Return what a request does."""
    source = request.source
    if isinstance(request, MusicRequest):
        return "generate" if source is None else "edit"
    if source is None:
        return "generate"
    if request.loop:
        return "loop"
    if round(max(request.seconds or 0.0, request.offset + source.seconds) * source.sample_rate) > source.samples:
        return "extend"
    return "inpaint" if request.regions and request.noise == 1 else "vary"


def _adapters(request: GenerationRequest, stack: AdapterStack, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a job for adapters by name, as the server looks them up in its folder."""
    if stack.published and not AdapterStack().resolved(request.compat.loras).published:
        raise RequestError(
            "a server does not repeat faults of adapters", 'use compat.loras "full" instead of published'
        )
    given = {"lora_combine": stack.combine, "lora_seconds": stack.seconds}
    found = {"loras": list(record.get("uses", ())), **{name: value for name, value in given.items() if value}}
    return found if found["loras"] else {}


def _follow(
    server: str,
    task: Task,
    watch: Watch,
    clips: int,
    failures: list[OutputError],
    logged: set[str],
    news: _News,
) -> Steps[None]:
    """Report the progress of a job and yield its clips, until it has ended."""
    source = task.request.source
    reporter = _Reporter(watch.progress, task.indices[0] + 1, clips)
    done = set[int]()
    while True:
        job: Job = (
            yield from ask(Call("GET", f"/v1/jobs/{task.id}", {"wait": 0 if watch.is_live else SLOW_WAIT}))
        ).json()
        reporter.report(job, None if news.has_come else job.get("progress"))
        for item in job["items"]:
            if item["number"] in done or item["state"] not in ENDED:
                continue
            done.add(item["number"])
            if item["take"] is not None:
                clip = yield from fetch_take(server, item["take"], source)
                yield Finished(task.indices[item["number"]], _with_source(clip, source, logged))
            else:
                _note_failure(item["error"], item["state"], failures)
        if job["state"] in ENDED:
            return
        if watch.is_live:
            yield from news.wait(task.id, watch, reporter)


class _News:
    """What the events of the server say about a job."""

    def __init__(self) -> None:
        self.has_come = False  # anything, so that events can be relied on

    def wait(self, job: str, watch: Watch, reporter: _Reporter) -> Steps[None]:
        """Report the progress of a job until there is other news of it. Raises Canceled."""
        waited = 0.0
        while waited < (SLOW_WAIT if self.has_come else POLL_WAIT):
            watch.require_not_canceled()
            event: ServerEvent | None = yield NextEvent(EVENT_WAIT)
            if event is None:
                waited += EVENT_WAIT
                continue
            self.has_come = event.kind not in (LOST, "bye")
            if event.kind == "progress" and event.data.get("id") == job:
                reporter.update(event.data)
            elif event.kind in (LOST, "bye", "hello", "reset") or job in (event.data.get("id"), event.data.get("job")):
                return
        watch.require_not_canceled()


def _note_failure(error: dict[str, Any] | None, state: str, failures: list[OutputError]) -> None:
    """Keep an OutputError for the end; raise any other."""
    if state == "canceled":
        raise Canceled("the job was canceled on the server")
    found = error_of(error or {})
    if not isinstance(found, OutputError):
        raise found
    failures.append(found)


def _with_source(clip: TakeClip, source: Clip | None, logged: set[str]) -> Clip:
    """Return a clip whose record names the source as the caller knows it."""
    log_warnings([clip], logged)
    if source is None or isinstance(source, TakeClip):
        return clip
    return TakeClip.of(clip, {**clip.record, "source": source_record(source)}, clip.take, clip.server)


class _Reporter:
    """Turns what a server tells about a job into progress events."""

    def __init__(self, callback: ProgressCallback | None, clip: int, clips: int) -> None:
        self._callback, self._clip, self._clips = callback, clip, clips
        self._last: Progress | None = None
        self._time = 0.0  # of the last report, by the server's clock

    def report(self, job: Job, facts: Mapping[str, Any] | None) -> None:
        """Report the progress that a job has, and end the last stage with the job."""
        if job["state"] not in ENDED:
            self.update(facts or {})
        elif self._last is not None:
            self._end_stage(self._last)

    def update(self, facts: Mapping[str, Any]) -> None:
        """Report progress, unless it or newer progress was reported before."""
        time = facts.get("time", self._time)
        if self._callback is None or "stage" not in facts or time < self._time:
            return
        self._time = time
        same = {name: facts[name] for name in ("stage", "step", "steps", "seconds", "finished") if name in facts}
        now, last = Progress(**same, clip=self._clip, clips=self._clips), self._last
        if last is not None and now.stage != last.stage:
            self._end_stage(last)
        if last is None or (now.stage, now.step, now.finished) != (last.stage, last.step, last.finished):
            self._last = now
            self._callback(now)

    def _end_stage(self, last: Progress) -> None:
        """Report the end of a stage whose own report was lost."""
        self._last = None
        if self._callback is not None and not last.finished:
            self._callback(replace(last, step=last.steps, finished=True))
