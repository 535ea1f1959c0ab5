"""The loop of a worker: its main thread owns the model, and a reader thread receives messages."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.atomic import name_in_errors
from soundloom.errors import Canceled, OutputError
from soundloom.memory import total_memory
from soundloom.serving.problems import problem_of, without_folder
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.worker.messages import (
    Bye,
    Cancel,
    Channel,
    ItemDone,
    Load,
    Loaded,
    Message,
    Ready,
    Run,
    RunDone,
    Unload,
    Working,
    WorkItem,
    receive,
    send,
)
from soundloom.serving.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip
    from soundloom.pipeline.progress import Progress

log = logging.getLogger(__name__)
SUBTYPE = "FLOAT"  # stored clips are exact


def run_worker(connection: Connection, settings: WorkerSettings) -> None:
    """Serve messages until `Bye`, or until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends its workers
    # The notes of models quote prompts; they are in the records of clips, and not for the log of the server.
    logging.getLogger("soundloom").setLevel(logging.ERROR)
    logging.getLogger("soundloom.serving").setLevel(logging.WARNING)
    Worker(connection, settings).serve()


class Worker:
    """A process with a model."""

    def __init__(self, connection: Channel, settings: WorkerSettings) -> None:
        self.connection, self.settings = connection, settings
        self.store = ObjectStore(Path(settings.objects))
        self.model: Any = None
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._canceling = threading.Lock()
        self._canceled: set[str] = set()  # jobs
        self._left: set[tuple[str, int]] = set()  # items of the run that have not been reported
        self._stop = threading.Event()  # of the run

    def serve(self) -> None:
        threading.Thread(target=self._read, name="soundloom-reader", daemon=True).start()
        self._send(Ready(os.getpid()))
        while not isinstance(message := self._messages.get(), Bye):
            if isinstance(message, Load):
                self._load(message.model)
            elif isinstance(message, Unload):
                self.model = None
                self._send(Loaded())
            elif isinstance(message, Run):
                self._run(message)

    def _read(self) -> None:
        """Receive messages. Without a server, end the process: what is finished is stored already."""
        try:
            while True:
                message = receive(self.connection)
                if isinstance(message, Cancel):
                    self._cancel(message.job)
                    continue
                if isinstance(message, Run):  # a job that was canceled before may run again
                    self._canceled -= {item.job for item in message.items}
                self._messages.put(message)
        except (EOFError, OSError):
            os._exit(1)

    def _send(self, message: Message) -> None:
        with self._sending:
            send(self.connection, message)

    # Models

    def _load(self, name: str) -> None:
        start = time.perf_counter()
        self.model = None  # the old one makes room
        settings = self.settings
        try:
            from soundloom.pipeline.load import load

            self.model = load(
                settings.sources.get(name, name),
                engine=settings.engine,
                device=settings.device,
                precision=settings.precision,
                threads=settings.threads,
                offline=settings.offline or None,
                keep_loaded=True,
            )
        except Exception as error:
            log.exception("%s cannot be loaded", name)
            self._send(Loaded(name, error=problem_of(error)))
            return
        engine = self.model.engine
        seconds, memory = time.perf_counter() - start, _memory(engine.device)
        self._send(Loaded(name, seconds, engine.name, engine.device, engine.precision, memory))

    # Runs

    def _run(self, message: Run) -> None:
        items = dict(enumerate(message.items))
        with self._canceling:
            self._stop = threading.Event()
            self._left = {(item.job, item.number) for item in message.items}
        self._check_canceled()
        failure: BaseException = RuntimeError("the model returned no clip")
        try:
            for index, clip in self._clips(message):
                self._report(message.run, items[index], clip)
                del items[index]
        except Exception as error:  # everything that can happen in a model is the failure of a clip
            failure = error
            if not isinstance(error, Canceled):
                log.warning("a run failed: %s", error)
        own = failure.errors if isinstance(failure, OutputError) else {}
        for index, item in items.items():
            state = "canceled" if isinstance(failure, Canceled) or item.job in self._canceled else "failed"
            folder = Path(self.settings.objects).parent
            problem = None if state == "canceled" else without_folder(problem_of(own.get(index, failure)), folder)
            self._done(ItemDone(message.run, item.job, item.number, state, error=problem))
        self._send(RunDone(message.run))

    def _clips(self, message: Run) -> Iterator[tuple[int, Clip]]:
        requests = [_request(item) for item in message.items]
        progress = self._progress_of(message.run)
        found: Iterator[tuple[int, Clip]] = self.model.iter(requests, progress=progress, cancel=self._stop)
        return found

    def _progress_of(self, run: int) -> Any:
        def report(progress: Progress) -> None:
            self._send(Working(run, progress.stage, progress.step, progress.steps, progress.seconds, progress.finished))

        return report

    def _report(self, run: int, item: WorkItem, clip: Clip) -> None:
        """Store a clip, unless its job was canceled."""
        if item.job in self._canceled:
            self._done(ItemDone(run, item.job, item.number, "canceled"))
            return
        with self.store.temporary() as path, name_in_errors(path, "the clip"):
            clip.save(path, subtype=SUBTYPE)
            stored = self.store.add(path)
        facts = {
            "hash": stored.hash,
            "bytes": stored.bytes,
            "rate": clip.sample_rate,
            "channels": clip.channels,
            "samples": clip.samples,
            "subtype": SUBTYPE,
        }
        self._done(ItemDone(run, item.job, item.number, "succeeded", facts, dict(clip.record)))

    def _done(self, message: ItemDone) -> None:
        with self._canceling:
            self._left.discard((message.job, message.number))
        self._send(message)

    # Canceling

    def _cancel(self, job: str) -> None:
        self._canceled.add(job)
        self._check_canceled()

    def _check_canceled(self) -> None:
        """Stop the run when no other job takes part in it."""
        with self._canceling:
            if self._left and all(job in self._canceled for job, _ in self._left):
                self._stop.set()


def _request(item: WorkItem) -> Any:
    """Return the request of an item, with its source. Raises RequestError or AudioError."""
    from soundloom.audio.streamed_clip import StreamedClip
    from soundloom.config.musicgen.request import MusicRequest
    from soundloom.config.stable_audio.request import GenerationRequest

    source = StreamedClip.open(item.source) if item.source else None
    if item.family == "musicgen":
        return MusicRequest.from_record(item.request, source=source)
    return GenerationRequest.from_record(item.request, source)


def _memory(device: str) -> int | None:
    """Return the bytes of memory of a device, or of the machine if it has none of its own."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return total_memory()
