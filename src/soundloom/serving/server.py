"""The parts of a running server, and their start and end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from soundloom.atomic import make_folder
from soundloom.errors import SoundloomError
from soundloom.serving.adapter_facts import AdapterFacts
from soundloom.serving.disk import clean_derived
from soundloom.serving.events import EventHub
from soundloom.serving.jobs.dispatcher import Dispatcher
from soundloom.serving.jobs.settings import DispatchSettings
from soundloom.serving.models import Models
from soundloom.serving.output import PATTERN, Output, OutputFiles, adopt_files
from soundloom.serving.prompts import PromptReader
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.rebuild import open_library
from soundloom.serving.storage.takes import KEPT_SECONDS, mark_missing, purge
from soundloom.serving.worker.settings import WorkerSettings

log = logging.getLogger(__name__)
DATABASE, OBJECTS, TRASH = "library.db", "objects", "trash"
HOUSEKEEPING_SECONDS = 3600.0
MAX_DECODERS = 4  # at a time


@dataclass(frozen=True)
class ServerSettings:
    """How the server runs. `model` is the one for requests that name none.

    With `allowed`, only those models may be used. `aliases` are names that clients of other services give to models, in
    lower case.
    """

    data: Path
    workers: Mapping[str, WorkerSettings]  # by device; their folder of objects is that of `data`
    model: str = "mini"
    sources: Mapping[str, str] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    keep_alive: float | None = 900.0
    drain: float = 10.0
    output: Path | None = None  # folder where takes appear under names for people
    names: str = PATTERN  # of files there
    disk_limit: int | None = None  # bytes that the library may take
    lora_uploads: bool = False  # whoever runs the server may send adapters to it
    rebuild: bool = False  # add clips that the library does not know


class Server:
    """The database, the files, the queue and the events of a server."""

    def __init__(self, settings: ServerSettings) -> None:
        """Open the data folder. Raises StorageError or WriteError."""
        self.settings, self.started = settings, time.time()
        make_folder(settings.data)
        self.store, self.hub = ObjectStore(settings.data / OBJECTS), EventHub()
        trash = settings.data / TRASH
        opened = open_library(settings.data, DATABASE, self.store, trash, rebuild=settings.rebuild)
        self.database, self.notice = opened.database, opened.notice
        dispatch = DispatchSettings(
            settings.workers,
            keep_alive=settings.keep_alive,
            sources=settings.sources,
            allowed=settings.allowed,
            disk_limit=settings.disk_limit,
        )
        self.dispatcher = Dispatcher(self.database, self.store, self.hub, dispatch)
        self.models = Models(self.dispatcher, offline=any(worker.offline for worker in settings.workers.values()))
        self.prompts, self.adapters = PromptReader(settings.sources), AdapterFacts()
        files = OutputFiles(settings.output, self.store) if settings.output else None
        if self.notice and files:
            self.database.run(partial(adopt_files, files=files, pattern=settings.names)).result()
        self.output = Output(files, settings.names, self.dispatcher.call, self.dispatcher.tell)
        self.dispatcher.disk.tell = self.dispatcher.tell
        self.hub.observers += [self.output.observe, self.dispatcher.disk.observe]
        self.decoders = asyncio.Semaphore(MAX_DECODERS)  # of uploads
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the workers and take up the jobs of the last time."""
        await self.output.start()
        await self.dispatcher.start()
        self._housekeeping = asyncio.create_task(self._keep_house())

    def begin_stop(self) -> None:
        """End streams of events and requests that wait, so that their connections can close; take no new jobs."""
        self.hub.close()
        self.dispatcher.is_stopping = True
        for queued in self.dispatcher.queue.values():
            queued.ended.set()

    async def stop(self) -> None:
        """End everything; jobs that are not finished wait for the next start."""
        self.begin_stop()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await self.dispatcher.stop(self.settings.drain)
        await self.output.stop()
        await asyncio.to_thread(self.database.close)

    @property
    def not_ready(self) -> str:
        """Why no worker can take a job, or an empty string."""
        dispatcher = self.dispatcher
        if dispatcher.is_stopping:
            return "the server is stopping"
        if dispatcher.is_paused:
            return "the queue is paused"
        if not any(device.is_ready for device in dispatcher.devices):
            return next((device.held for device in dispatcher.devices if device.held), "the workers are starting")
        return ""

    async def _keep_house(self) -> None:
        """Compare files and rows, and remove what was deleted long ago, at the start and from time to time."""
        while True:
            try:
                await self._clean_up()
            except (sqlite3.Error, OSError, SoundloomError) as error:
                log.warning("the library could not be cleaned up: %s", error)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _clean_up(self) -> None:
        present = await asyncio.to_thread(lambda: [path.stem for path in self.store.files()])
        unused, known = await self.dispatcher.call(partial(_compare, present=present))
        for hash in unused:
            self.store.path(hash).unlink(missing_ok=True)
        await asyncio.to_thread(self.store.set_aside_orphans, known, self.settings.data / TRASH)
        self.dispatcher.disk.other = await asyncio.to_thread(clean_derived, self.settings.data, known, TRASH)
        self.dispatcher.disk.look()


def _compare(connection: sqlite3.Connection, present: list[str]) -> tuple[list[str], set[str]]:
    """Return the hashes of files that nothing uses any more, and those of all that are known."""
    unused = purge(connection, time.time() - KEPT_SECONDS)
    mark_missing(connection, present)
    return unused, {row[0] for row in connection.execute("SELECT hash FROM artifacts")}
