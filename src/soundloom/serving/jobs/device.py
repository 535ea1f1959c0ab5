"""One device: its worker process, and the loop that gives it work."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from soundloom.serving.jobs.estimate import Fraction, Timings
from soundloom.serving.jobs.queue import QueuedJob
from soundloom.serving.jobs.scheduler import Waiting
from soundloom.serving.jobs.settings import DispatchSettings
from soundloom.serving.worker.messages import (
    Bye,
    Cancel,
    ItemDone,
    Load,
    Loaded,
    Message,
    Ready,
    Run,
    RunDone,
    Unload,
    Working,
)
from soundloom.serving.worker.settings import WorkerSettings
from soundloom.serving.worker.start import WorkerHandle, start_worker

log = logging.getLogger(__name__)
MAX_DEATHS, DEATH_SECONDS = 3, 60.0  # of a worker while it starts or loads, before its device is held
LIBRARY_SECONDS = 5.0  # between attempts to write to a database that failed
STALL_SECONDS, STALL_STEPS = 60.0, 20  # without progress, or times the median step


class WorkerGone(Exception):  # noqa: N818 (it says what happened, not what is wrong)
    """The worker process has ended."""


@dataclass
class ActiveRun:
    """What a device is doing."""

    number: int
    model: str
    items: list[Waiting]
    left: set[tuple[str, int]]
    fraction: Fraction
    stage: str = ""
    step: int = 0
    steps: int = 0
    is_stalled: bool = False
    last: float = field(default_factory=time.monotonic)  # when the worker last said something
    step_seconds: list[float] = field(default_factory=list)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    where: tuple[str, str, str, int, int] = ("", "", "", 0, 0)  # model, device, precision, frames, clips: of timings


class Owner(Protocol):
    """What a device needs of the dispatcher."""

    queue: dict[str, QueuedJob]
    settings: DispatchSettings

    def choose(self, device: Device) -> list[Waiting]: ...
    async def wait_for_change(self, seconds: float | None) -> bool: ...
    async def timings(self, model: str, loaded: Loaded) -> Timings: ...
    async def started(self, device: Device, run: ActiveRun) -> None: ...
    def working(self, run: ActiveRun, message: Working) -> None: ...
    async def item_done(self, message: ItemDone) -> None: ...
    async def run_done(self, run: ActiveRun) -> None: ...
    async def end_if_done(self, queued: QueuedJob) -> None: ...
    async def failed(self, items: Iterable[Waiting], error: dict[str, Any]) -> None: ...
    async def crashed(self, run: ActiveRun, reason: str) -> None: ...
    def report_loading(self, device: Device, model: str) -> None: ...
    def report_stalled(self, run: ActiveRun) -> None: ...
    def report_devices(self) -> None: ...
    async def tell(self, kind: str, data: dict[str, Any]) -> None: ...


class Device:
    """A device; its coroutine `drive` runs until the server stops."""

    def __init__(self, name: str, settings: WorkerSettings, dispatcher: Owner) -> None:
        self.name, self.settings, self._dispatcher = name, settings, dispatcher
        self.process: WorkerHandle | None = None
        self.loaded = Loaded()
        self.run: ActiveRun | None = None
        self.memory: int | None = None  # bytes; known once a model was loaded
        self.held = ""  # why it takes no work
        self.wanted: str | None = None  # a model to load before the next work; "" frees the one that is loaded
        self.restarts = 0
        self._inbox: asyncio.Queue[Message | str] = asyncio.Queue()
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._runs = 0
        self._chosen: list[Waiting] = []  # the items of the last run

    @property
    def is_ready(self) -> bool:
        return self.process is not None and not self.held

    async def drive(self) -> None:
        """Start the worker, give it work, and start it again when it is gone."""
        while True:
            try:
                await self._work()
            except sqlite3.Error as error:
                await self._wait_for_library(error)

    async def _work(self) -> None:
        try:
            await self._start()
            while True:
                self._chosen = await self._next()
                await self._serve(self._chosen)
        except WorkerGone as gone:
            await self._after_death(str(gone))

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()

        def put(message: Message | str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._inbox.put_nowait, message)

        self._inbox = asyncio.Queue()
        self.loaded = Loaded()
        self.process = await asyncio.to_thread(start_worker, self.settings, put, put)
        await self._receive(Ready)

    async def _next(self) -> list[Waiting]:
        """Wait for work; free the model when there is none for long."""
        while True:
            await self._change_model()
            chosen = self._dispatcher.choose(self)
            if chosen:
                return chosen
            idle = self._dispatcher.settings.keep_alive if self.loaded.model else None
            if not await self._dispatcher.wait_for_change(idle) and self.loaded.model:
                await self._unload()

    async def _change_model(self) -> None:
        """Load or free a model as somebody asked for."""
        wanted, self.wanted = self.wanted, None
        if wanted and wanted != self.loaded.model:
            await self._load(wanted, [])
        elif wanted == "" and self.loaded.model:
            await self._unload()

    async def _unload(self) -> None:
        self._send(Unload())
        self.loaded = await self._receive(Loaded)
        self._dispatcher.report_devices()

    async def _receive(self, kind: type[Any]) -> Any:
        """Wait for a message of a kind. Raises WorkerGone."""
        while True:
            message = await self._inbox.get()
            if isinstance(message, str):
                raise WorkerGone(message)
            if isinstance(message, kind):
                return message

    def _send(self, message: Message) -> None:
        if self.process is not None:
            self.process.send(message)

    # Work

    async def _serve(self, items: list[Waiting]) -> None:
        model = items[0].model
        try:
            if self.loaded.model != model and not await self._load(model, items):
                return
        except WorkerGone:
            await self._give_back(items)
            raise
        queued = [self._dispatcher.queue[item.job] for item in items]
        clip = queued[0].clips[items[0].number]
        self._runs += 1
        timings = await self._dispatcher.timings(model, self.loaded)
        expected = timings.stages(clip.frames, len(items), clip.seconds_to_generate)
        left = {(item.job, item.number) for item in items}
        where = (model, self.loaded.device, self.loaded.precision, clip.frames, len(items))
        self.run = ActiveRun(self._runs, model, items, left, Fraction(expected), where=where)
        await self._dispatcher.started(self, self.run)
        work = tuple(one.work(item.number) for one, item in zip(queued, items, strict=True))
        self._send(Run(self.run.number, work))
        for one in queued:
            if one.is_canceling:  # since the run was chosen
                self.cancel(one.job.id)
        watch = asyncio.create_task(self._watch(self.run))
        try:
            await self._follow(self.run)
        finally:
            watch.cancel()
        self.run = None

    async def _give_back(self, items: list[Waiting]) -> None:
        """Put items whose run did not begin back in the queue: the worker died while it loaded their model."""
        queue = self._dispatcher.queue
        for item in items:
            queue[item.job].running.discard(item.number)
            queue[item.job].pending.add(item.number)
        for job in dict.fromkeys(item.job for item in items):
            await self._dispatcher.end_if_done(queue[job])

    async def _load(self, model: str, items: list[Waiting]) -> bool:
        """Load a model; if it fails, so do the jobs that need it."""
        self._dispatcher.report_loading(self, model)
        self._send(Load(model))
        found: Loaded = await self._receive(Loaded)
        self.loaded = found if found.error is None else Loaded()
        self.memory = found.memory or self.memory
        self._deaths.clear()  # only those in a row count
        self._dispatcher.report_devices()
        if found.error is not None:
            await self._dispatcher.failed(items, found.error)
        return found.error is None

    async def _follow(self, run: ActiveRun) -> None:
        """Handle what the worker says about a run until it has ended."""
        while True:
            message = await self._receive(Message)
            run.is_stalled = False
            now = time.monotonic()
            if isinstance(message, Working) and message.run == run.number:
                self._count(run, message, now)
                self._dispatcher.working(run, message)
            elif isinstance(message, ItemDone) and message.run == run.number:
                run.left.discard((message.job, message.number))
                await self._dispatcher.item_done(message)
            elif isinstance(message, RunDone) and message.run == run.number:
                await self._dispatcher.run_done(run)
                return
            run.last = now

    def _count(self, run: ActiveRun, message: Working, now: float) -> None:
        if message.finished:
            run.stage_seconds[message.stage] = run.stage_seconds.get(message.stage, 0.0) + message.seconds
        run.fraction.update(message.stage, message.step, message.steps, finished=message.finished)
        if message.stage == run.stage and message.step > run.step:
            run.step_seconds.append(now - run.last)
        run.stage, run.step, run.steps = message.stage, message.step, message.steps

    # Trouble

    async def _watch(self, run: ActiveRun) -> None:
        """Report a run that makes no progress, and end its worker after a limit."""
        limit = self._dispatcher.settings.stall_limit
        while True:
            await asyncio.sleep(1)
            steps = sorted(run.step_seconds)
            median = steps[len(steps) // 2] if steps else 0.0
            silent = time.monotonic() - run.last
            if silent > max(STALL_SECONDS, STALL_STEPS * median) and not run.is_stalled:
                run.is_stalled = True
                self._dispatcher.report_stalled(run)
            if limit and silent > limit:
                log.warning("%s made no progress for %.0f s and is ended", self.name, silent)
                self.kill()
                return

    def cancel(self, job: str) -> None:
        """Ask the worker to stop a job."""
        self._send(Cancel(job))

    def kill(self) -> None:
        """End the worker; another one starts."""
        if self.process is not None:
            self.process.kill()

    async def _after_death(self, reason: str) -> None:
        run, self.run = self.run, None
        self.process, self.loaded = None, replace(self.loaded, model=None)
        self.restarts += 1
        log.warning("%s: %s", self.name, reason)
        if run is not None:
            await self._dispatcher.crashed(run, reason)
        else:
            self._deaths.append(time.monotonic())
            if len(self._deaths) == MAX_DEATHS and self._deaths[-1] - self._deaths[0] < DEATH_SECONDS:
                self.held = f"its worker died {MAX_DEATHS} times in a row: {reason}"
        self._dispatcher.report_devices()
        while self.held:
            await asyncio.sleep(0.2)

    async def _wait_for_library(self, error: sqlite3.Error) -> None:
        """Wait until the database can be written again; what could not be stored runs once more then."""
        self.held = f"the library cannot be written: {error}"
        log.error("%s: %s", self.name, self.held)
        if self.process is not None:
            self.kill()
            await asyncio.to_thread(self.process.join)
        self.process, self.run, self.loaded = None, None, Loaded()
        chosen, self._chosen = self._chosen, []
        for item in chosen:
            if item.job in self._dispatcher.queue:
                self._dispatcher.queue[item.job].put_back(item.number)
        while self.held:
            await asyncio.sleep(LIBRARY_SECONDS)
            with suppress(sqlite3.Error):
                await self._dispatcher.tell("system", {"library": "works"})
                await self._dispatcher.run_done(ActiveRun(0, "", chosen, set(), Fraction({})))
                self.held = ""

    async def stop(self) -> None:
        """End the worker, and kill it if it does not end."""
        if self.process is not None:
            self._send(Bye())
            await asyncio.to_thread(self.process.join)
