"""Accept jobs, give them to devices, and store what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from soundloom.audio.streamed_clip import StreamedClip
from soundloom.errors import SoundloomError
from soundloom.serving.disk import Disk
from soundloom.serving.events import EventHub
from soundloom.serving.jobs.device import ActiveRun, Device
from soundloom.serving.jobs.estimate import Timings
from soundloom.serving.jobs.queue import QueuedJob, job_facts, progress_facts
from soundloom.serving.jobs.resolve import JobBody, KnownModel, ResolvedClip, plan_clips, require_installed, resolve
from soundloom.serving.jobs.results import store_item
from soundloom.serving.jobs.scheduler import Scheduler, Waiting
from soundloom.serving.jobs.settings import DispatchSettings, JobEndedError, JobStateError, NotFoundError
from soundloom.serving.problems import problem_of
from soundloom.serving.storage import jobs as rows
from soundloom.serving.storage.database import Database
from soundloom.serving.storage.events import add_event, add_timings, timings
from soundloom.serving.storage.meta import is_paused, set_paused
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.rows import ENDED, Artifact, Event, Job, State
from soundloom.serving.storage.takes import get_artifact, get_take
from soundloom.serving.worker.messages import ItemDone, Loaded, Working

log = logging.getLogger(__name__)
Result = TypeVar("Result")
MAX_ATTEMPTS = 2  # of a job whose worker dies
CANCEL_SECONDS = 10.0  # for a worker to stop a job, before it is ended


class Dispatcher:
    """Owns the queue and the devices. All methods run in the event loop's thread."""

    def __init__(self, database: Database, store: ObjectStore, hub: EventHub, settings: DispatchSettings) -> None:
        self.database, self.store, self.hub, self.settings = database, store, hub, settings
        self.queue: dict[str, QueuedJob] = {}
        self.devices = [Device(name, worker, self) for name, worker in settings.devices.items()]
        self.disk = Disk(store.folder, settings.disk_limit, self.call, self.queue)
        self.is_paused = self.is_stopping = False
        self._scheduler = Scheduler()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._models: dict[str, KnownModel] = {}

    async def start(self) -> None:
        """Put interrupted jobs back in the queue, and start the workers."""
        self.is_paused = await self.call(is_paused)
        await self.call(rows.requeue_interrupted)
        for job in await self.call(lambda connection: rows.list_jobs(connection, ("queued",), limit=10**6)):
            await self._requeue(job)
        for device in self.devices:
            self._spawn(device.drive())

    async def stop(self, drain: float) -> None:
        """Take no new jobs, give running ones `drain` seconds, and end the workers; what is not finished waits."""
        self.is_stopping = True
        deadline = time.monotonic() + drain
        while any(device.run for device in self.devices) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for device in self.devices:
            if device.run is not None:
                device.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(device.stop() for device in self.devices))
        await self.call(partial(rows.requeue_interrupted, is_crash=False))

    async def call(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Call a function with the database's connection."""
        return await asyncio.wrap_future(self.database.run(function))

    # What clients do

    def check(self, body: JobBody, source: str | None) -> list[ResolvedClip]:
        """Resolve what a client asks for; `source` is the path of its file. Raises SoundloomError."""
        return resolve(body, self.model(body.model), StreamedClip.open(source) if source else None)

    async def submit(self, body: JobBody, client: str) -> Job:
        """Accept a job. Raises SoundloomError for what cannot run or be stored, and QueueFullError."""
        if self.is_stopping:
            raise SoundloomError("the server is stopping", "try again when it is back")
        source = await self.source_path(body.source) if body.source else None
        require_installed(self.model(body.model).name, self.settings.sources)
        clips = await asyncio.to_thread(self.check, body, source)
        await self.disk.require(sum(clip.bytes for clip in clips))

        def store(connection: sqlite3.Connection) -> tuple[Job, Event]:
            self.settings.require_place(*rows.waiting(connection), len(clips))
            requests = [clip.request for clip in clips]
            values = {name: value for name, value in vars(body).items() if name not in ("job_class", "model")}
            job = rows.add_job(connection, client, body.kind, body.model, values, requests, body.job_class)
            return job, add_event(connection, "job", job_facts(job), client)

        job, event = await self.call(store)
        self.queue[job.id] = QueuedJob(job, dict(enumerate(clips)), source, {*range(len(clips))})
        self.hub.publish(event)
        await self.changed()
        return job

    async def cancel(self, job: str) -> Job:
        """Cancel a job: at once if it waits, else between two steps. Raises NotFoundError or JobEndedError."""
        queued = await self._queued(job)
        queued.is_canceling = True
        await self._change(queued, "canceling")
        for device in self.devices:
            if device.run is not None and any(one == job for one, _ in device.run.left):
                device.cancel(job)
                self._spawn(self._insist(device, device.run, job))
        await self.end_if_done(queued)
        return await self.get(job)

    async def retry(self, job: str) -> Job:
        """Queue what is missing of a job that failed or was canceled. Raises NotFoundError or JobStateError."""
        found = await self.get(job)
        if found.state not in ("failed", "canceled"):
            raise JobStateError(f"the job is {found.state}, and only failed and canceled jobs can be repeated")
        await self.disk.require(1)
        await self.call(lambda connection: rows.retry(connection, job))
        found = await self.get(job)
        await self._requeue(found)
        await self.tell("job", job_facts(found), found.client)
        await self.changed()
        return found

    async def move(self, job: str, before: str | None) -> Job:
        """Place a waiting job before another one, or at the end. Raises NotFoundError or JobEndedError."""
        queued = await self._queued(job)
        await self.call(lambda connection: rows.move(connection, job, before))
        found = await self.get(job)
        queued.job = replace(queued.job, position=found.position)
        await self.tell("queue", {"moved": job, "before": before}, found.client)
        return found

    async def pause(self, paused: bool) -> None:
        """Hold the queue between runs, or go on; also after a device was held because its worker kept dying."""
        await self.call(partial(set_paused, paused=paused))
        self.is_paused = paused
        if not paused:
            for device in self.devices:
                device.held = ""
        await self.changed()
        await self.tell("queue", {"paused": paused})

    async def get(self, job: str) -> Job:
        """Return a job. Raises NotFoundError."""
        found = await self.call(lambda connection: rows.get_job(connection, job))
        if found is None:
            raise NotFoundError(f"there is no job {job}", "GET /v1/jobs lists the jobs")
        return found

    def progress(self, job: str) -> Mapping[str, Any] | None:
        """Return the last progress of a job that runs."""
        return self.queue[job].progress if job in self.queue else None

    async def wait_for_end(self, job: str, seconds: float) -> Job:
        """Return a job when it has ended, or after this time. Raises NotFoundError."""
        queued = self.queue.get(job)
        if queued is not None and seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(queued.ended.wait(), seconds)
        return await self.get(job)

    async def source_path(self, source: str) -> str:
        """Return the file of a take or an artifact. Raises NotFoundError."""

        def find(connection: sqlite3.Connection) -> Artifact | None:
            take = get_take(connection, source)
            return take.artifact if take else get_artifact(connection, source)

        artifact = await self.call(find)
        path = self.store.path(artifact.hash) if artifact else None
        if path is None or not path.is_file():
            raise NotFoundError(f"there is no take or uploaded file {source}", "upload the file again")
        return str(path)

    def model(self, name: str) -> KnownModel:
        """Return a model by its name. Raises ModelNotFoundError or RequestError."""
        if name not in self._models:
            self._models[name] = KnownModel.open(name, self.settings.sources, self.settings.allowed)
        return self._models[name]

    # What devices ask and report

    def choose(self, device: Device) -> list[Waiting]:
        """Return the items of the next run of a device, which are running from now on; none if there is nothing."""
        if self.is_paused or self.is_stopping or device.held:
            return []
        if not (waiting := [item for queued in self.queue.values() for item in queued.waiting()]):
            return []
        chosen = self._scheduler.choose(waiting, device.loaded.model, self.settings.max_batch)
        for item in chosen:
            queued = self.queue[item.job]
            queued.pending.discard(item.number)
            queued.running.add(item.number)
        return chosen

    async def wait_for_change(self, seconds: float | None) -> bool:
        """Wait until the queue changes; return False after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                return await self._changed.wait()
        return False

    async def changed(self) -> None:
        """Wake the devices that wait for work."""
        async with self._changed:
            self._changed.notify_all()

    async def timings(self, model: str, loaded: Loaded) -> Timings:
        """Return what is known about the speed of a model on a device."""
        found = await self.call(lambda connection: timings(connection, model, loaded.device, loaded.precision))
        return Timings.of_rows([dict(row) for row in found])

    async def started(self, device: Device, run: ActiveRun) -> None:
        """Store that jobs are running."""

        def store(connection: sqlite3.Connection) -> list[Event]:
            events = []
            for job in dict.fromkeys(item.job for item in run.items):
                rows.set_state(connection, job, "running")
                facts = {"id": job, "state": "running", "device": device.name}
                events.append(add_event(connection, "job", facts, self._client(job)))
            for item in run.items:
                rows.set_item(connection, item.job, item.number, "running")
            return events

        self._publish(await self.call(store))

    def working(self, run: ActiveRun, message: Working) -> None:
        """Report progress."""
        facts = progress_facts(message, run.fraction)
        for job in {item.job for item in run.items}:
            if job in self.queue:
                self.queue[job].progress = facts
            self.hub.progress(job, {"id": job, **facts}, self._client(job), always=message.finished)

    async def item_done(self, message: ItemDone) -> None:
        """Store a clip, or why there is none."""
        queued = self.queue.get(message.job)
        if queued is None:
            return

        events = await self.call(lambda connection: store_item(connection, queued.job, message))
        queued.running.discard(message.number)
        self._publish(events)

    async def run_done(self, run: ActiveRun) -> None:
        """End the jobs that have no clips left, then store how long the stages took."""
        for job in dict.fromkeys(item.job for item in run.items):
            if job in self.queue:
                await self.end_if_done(self.queue[job])
        await self.changed()
        if run.stage_seconds:
            await self.call(lambda connection: add_timings(connection, run.where, run.stage_seconds))

    async def failed(self, items: Iterable[Waiting], error: dict[str, Any]) -> None:
        """Fail all clips of jobs that cannot run."""
        for job in dict.fromkeys(item.job for item in items):
            await self._fail(self.queue[job], error)

    async def crashed(self, run: ActiveRun, reason: str) -> None:
        """Put the jobs of a run whose worker is gone back in the queue, or fail those that did it before."""
        for job in dict.fromkeys(job for job, _ in sorted(run.left)):
            queued = self.queue[job]
            if queued.is_canceling:
                queued.pending |= queued.running
                queued.running.clear()
                await self.end_if_done(queued)
            elif queued.job.attempt + 1 >= MAX_ATTEMPTS:
                done = len(queued.clips) - len(queued.pending) - len(queued.running)
                message = f"{reason}; {done} of {len(queued.clips)} clips are stored"
                hint = "try fewer clips at once, or shorter ones"
                await self._fail(queued, {"type": "worker-error", "message": message, "hint": hint})
            else:
                await self._put_back(queued, reason)
        await self.run_done(run)

    def report_loading(self, device: Device, model: str) -> None:
        self._spawn(self.tell("model", {"device": device.name, "model": model, "state": "loading"}))

    def report_stalled(self, run: ActiveRun) -> None:
        for job in {item.job for item in run.items}:
            self.hub.progress(job, {"id": job, "stalled": True}, self._client(job), always=True)

    def report_devices(self) -> None:
        devices = [{"device": one.name, "model": one.loaded.model, "held": one.held} for one in self.devices]
        self._spawn(self.tell("system", {"devices": devices}))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self.hub.publish(event)

    async def tell(self, kind: str, data: dict[str, Any], owner: str | None = None) -> None:
        """Store an event and pass it on."""
        self.hub.publish(await self.call(lambda connection: add_event(connection, kind, data, owner)))

    def _client(self, job: str) -> str | None:
        return self.queue[job].job.client if job in self.queue else None

    async def _queued(self, job: str) -> QueuedJob:
        if job not in self.queue or self.queue[job].is_ending:
            found = await self.get(job)
            raise JobEndedError(f"the job has ended: it is {found.state}")
        return self.queue[job]

    async def _change(self, queued: QueuedJob, state: State, reason: str | None = None) -> None:
        """Store the state of a job, and tell about it."""
        job = queued.job.id

        def store(connection: sqlite3.Connection) -> Event:
            rows.set_state(connection, job, state, reason)
            facts = {"id": job, "kind": queued.job.kind, "model": queued.job.model, "state": state, "reason": reason}
            return add_event(connection, "job", facts, queued.job.client)

        self.hub.publish(await self.call(store))

    async def _requeue(self, job: Job) -> None:
        """Plan the missing clips of a stored job; one that cannot run any more fails."""
        missing = [item for item in job.items if item.state not in ENDED]
        try:
            source = await self.source_path(job.body["source"]) if job.body.get("source") else None
            model = self.model(job.model)
            clip = StreamedClip.open(source) if source else None
            clips = plan_clips(job.kind, model, [item.request for item in missing], clip)
        except SoundloomError as error:
            log.warning("job %s cannot run any more: %s", job.id, error.args[0])
            self.queue[job.id] = QueuedJob(job, {}, None, {item.number for item in missing})
            await self._fail(self.queue[job.id], problem_of(error))
            return
        numbered = dict(zip((item.number for item in missing), clips, strict=True))
        self.queue[job.id] = QueuedJob(job, numbered, source, {*numbered})

    async def _put_back(self, queued: QueuedJob, reason: str) -> None:
        job = queued.job.id

        def store(connection: sqlite3.Connection) -> Event:
            rows.put_back(connection, job, reason)
            return add_event(connection, "job", {"id": job, "state": "queued", "reason": reason}, queued.job.client)

        event = await self.call(store)
        queued.pending |= queued.running
        queued.running.clear()
        queued.job = replace(queued.job, attempt=queued.job.attempt + 1)
        self.hub.publish(event)

    async def _fail(self, queued: QueuedJob, error: dict[str, Any]) -> None:
        await self._end_items(queued, "failed", error)
        await self.end_if_done(queued)

    async def _end_items(self, queued: QueuedJob, state: State, error: dict[str, Any] | None = None) -> None:
        job, numbers = queued.job.id, queued.pending | queued.running

        def store(connection: sqlite3.Connection) -> None:
            for number in numbers:
                rows.set_item(connection, job, number, state, error=error)

        await self.call(store)
        queued.pending.clear()
        queued.running.clear()

    async def end_if_done(self, queued: QueuedJob) -> None:
        """End a job when none of its clips is left."""
        if queued.is_canceling and not queued.running:
            await self._end_items(queued, "canceled")
        if queued.pending or queued.running or queued.is_ending:
            return
        queued.is_ending = True
        items = (await self.get(queued.job.id)).items
        errors = [item.error for item in items if item.error]
        states = {item.state for item in items}
        state: State = "failed" if "failed" in states else "canceled" if "canceled" in states else "succeeded"
        await self._change(queued, state, errors[0]["message"] if errors else None)
        del self.queue[queued.job.id]
        queued.ended.set()
        self.hub.ended(queued.job.id)

    async def _insist(self, device: Device, run: ActiveRun, job: str) -> None:
        """End a worker that does not stop a canceled job."""
        await asyncio.sleep(CANCEL_SECONDS)
        if device.run is run and any(one == job for one, _ in run.left):
            log.warning("%s did not stop job %s and is ended", device.name, job)
            device.kill()
