"""Download, check, load and free models while the server runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soundloom.checkpoints.hub.cache import cache_folder, sources_needed
from soundloom.checkpoints.hub.fetch import files_needed
from soundloom.checkpoints.hub.remove import removable_bytes, remove_model
from soundloom.checkpoints.hub.transfer import Paused, partial_files, transfer_files
from soundloom.checkpoints.installed import is_installed
from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.config.catalogue import CATALOGUE, find_entry
from soundloom.config.entries import DEFAULT_SECONDS, ModelEntry, license_notice
from soundloom.errors import ModelNotFoundError, RequestError, SoundloomError, shown
from soundloom.serving.jobs.dispatcher import Dispatcher
from soundloom.serving.jobs.resolve import require_allowed, require_installed
from soundloom.serving.memory_needs import memory_needed
from soundloom.serving.model_facts import facts_of_config, facts_of_entry
from soundloom.serving.problems import problem_of

log = logging.getLogger(__name__)
REPORT_SECONDS = 1.0
UNLOAD_SECONDS, PAUSE_SECONDS = 20.0, 15.0  # longest waits for a worker, and for a download to stop


@dataclass
class Task:
    """A download or a check: what it is, how far, and how it ended."""

    model: str
    action: str  # pull or verify
    state: str = "running"  # paused, succeeded or failed
    done: int = 0  # bytes
    total: int = 0
    result: dict[str, Any] = field(default_factory=dict)


class Models:
    """The models of a server."""

    def __init__(self, dispatcher: Dispatcher, offline: bool = False) -> None:
        self.dispatcher, self.offline = dispatcher, offline
        self.tasks: dict[str, Task] = {}  # the last one of each model
        self._running: dict[str, tuple[asyncio.Task[None], threading.Event]] = {}  # and what pauses it

    def facts(self) -> list[dict[str, Any]]:
        """Describe the models that can generate."""
        loaded = {device.loaded.model for device in self.dispatcher.devices}
        entries = [entry for entry in CATALOGUE.values() if entry.public and entry.kind != "autoencoder"]
        found = [_facts(entry) for entry in entries]
        found += [_facts_of_source(name) for name in self.dispatcher.settings.sources]
        allowed = self.dispatcher.settings.allowed
        found = [one for one in found if not allowed or one["id"] in allowed]
        for one in found:
            task = self._task(one["id"])
            one |= {"object": "model", "created": 0, "loaded": one["id"] in loaded}
            one["task"] = vars(task) if task else None
            one["memory"] = memory_needed(one["id"], self.dispatcher.devices[0])
            one |= self.facts_of(one["id"])
        return found

    def facts_of(self, name: str) -> dict[str, Any]:
        """Return what a model can do: see `serving.model_facts`. Raises ModelNotFoundError or RequestError."""
        if name in self.dispatcher.settings.sources:
            return facts_of_config(name, self.dispatcher.model(name).config)
        return facts_of_entry(self._entry(name).name)

    def terms(self, name: str) -> str:
        """Return what a license says. Raises ModelNotFoundError."""
        return license_notice(self._entry(name))

    def start(self, name: str, action: str, *, accept_license: bool = False) -> Task:
        """Start a download or a check. Raises ModelNotFoundError or RequestError."""
        entry = self._entry(name)
        running = self.tasks.get(name)
        if running is not None and running.state == "running":
            if running.action != action:
                raise RequestError(f"{name} is busy: {running.action} is not finished", "wait for its end")
            return running
        if action == "pull" and self.offline:
            raise RequestError("the server was started with --offline", "download models with `soundloom models pull`")
        if action == "pull" and entry.sources and not accept_license and not is_installed(entry):
            raise LicenseError(f"the license of {name} was not accepted", "read it, and send accept_license: true")
        task = self.tasks[name] = Task(name, action, total=_bytes(entry))
        pause = threading.Event()
        work = (lambda: _pull(entry, name, pause)) if action == "pull" else (lambda: _verify(name))
        running_task = asyncio.get_running_loop().create_task(self._run(task, entry, work))
        self._running[name] = running_task, pause
        running_task.add_done_callback(lambda done: self._forget(name, done))
        return task

    async def pause(self, name: str) -> Task:
        """Pause a download; what is there stays. Raises ModelNotFoundError or ModelStateError."""
        self._entry(name)
        task = self.tasks.get(name)
        if task is None or task.state != "running" or task.action != "pull":
            raise ModelStateError(f"{name} is not being downloaded", "GET /v1/models says what is going on")
        running, pause = self._running[name]
        pause.set()
        await asyncio.wait([running], timeout=PAUSE_SECONDS)
        return task

    def resume(self, name: str) -> Task:
        """Go on with a download that was paused. Raises ModelNotFoundError or ModelStateError."""
        self._entry(name)
        task = self._task(name)
        if task is None or task.state != "paused":
            raise ModelStateError(f"the download of {name} is not paused", "start it with POST /v1/models/NAME/pull")
        return self.start(name, "pull", accept_license=True)

    async def stop(self, name: str) -> int:
        """Stop a download, running or paused, remove its files, and return the bytes that this frees.

        Raises ModelNotFoundError or ModelStateError.
        """
        entry, task = self._entry(name), self._task(name)
        if task is not None and task.state == "running":
            task = await self.pause(name)
        if task is None or task.state != "paused":
            raise ModelStateError(f"{name} is not being downloaded", "GET /v1/models says what is going on")
        return await self._remove(entry)

    async def remove(self, name: str) -> int:
        """Remove a downloaded model, and return the bytes that this frees.

        Raises ModelNotFoundError, and ModelStateError if it is in use.
        """
        if name in self.dispatcher.settings.sources or self._entry(name).is_packaged:
            raise ModelStateError(f"{name} was not downloaded, so it stays", "only downloaded models can be removed")
        entry = self._entry(name)
        if not is_installed(entry):
            raise ModelStateError(f"{name} is not downloaded", "GET /v1/models lists the models")
        task = self.tasks.get(name)
        if task is not None and task.state == "running":
            raise ModelStateError(f"{name} is busy: {task.action} is not finished", "wait for its end")
        self._require_unused(entry)
        await self._free(entry)
        self._require_unused(entry)
        return await self._remove(entry)

    def _forget(self, name: str, done: asyncio.Task[None]) -> None:
        if self._running[name][0] is done:  # else another one has begun since
            del self._running[name]

    def _require_unused(self, entry: ModelEntry) -> None:
        """Raise ModelStateError if a job runs with a model, in whatever layout."""
        queue = self.dispatcher.queue.values()
        if any(one.running and find_entry(one.job.model.partition("@")[0]) == entry for one in queue):
            raise ModelStateError(f"a job is using {entry.name}", "wait for its end, or cancel it")

    async def _free(self, entry: ModelEntry) -> None:
        """Free a model in the memory of idle devices, and wait until it is."""
        names = {device.loaded.model for device in self.dispatcher.devices if device.loaded.model}
        for name in names:
            if find_entry(name.partition("@")[0]) == entry:
                await self.unload(name)
                for _ in range(round(UNLOAD_SECONDS / 0.05)):
                    if all(device.loaded.model != name for device in self.dispatcher.devices):
                        break
                    await asyncio.sleep(0.05)

    async def _remove(self, entry: ModelEntry) -> int:
        freed = await asyncio.to_thread(remove_model, entry)
        self.tasks.pop(entry.name, None)
        await self.dispatcher.tell("model", {"model": entry.name, "installed": False})
        return freed

    def _task(self, name: str) -> Task | None:
        """Return the last task of a model; a download that an earlier server began is a paused one."""
        known, entry = self.tasks.get(name), find_entry(name)
        if known or entry is None or not entry.sources or not partial_files(entry.repo) or is_installed(entry):
            return known
        return Task(name, "pull", "paused", _bytes_on_disk(entry), _bytes(entry))

    async def load(self, name: str) -> None:
        """Load a model on a device that is free, else on the first one. Raises ModelNotFoundError or RequestError."""
        self.dispatcher.model(name)
        require_installed(name, self.dispatcher.settings.sources)
        devices = self.dispatcher.devices
        if any(device.loaded.model == name for device in devices):
            return
        next((device for device in devices if device.run is None), devices[0]).wanted = name
        await self.dispatcher.changed()

    async def unload(self, name: str) -> None:
        """Free a model wherever it is loaded. Raises ModelNotFoundError or RequestError."""
        self.dispatcher.model(name)
        for device in self.dispatcher.devices:
            if device.loaded.model == name:
                device.wanted = ""
        await self.dispatcher.changed()

    async def _run(self, task: Task, entry: ModelEntry, work: Callable[[], dict[str, Any]]) -> None:
        watch = asyncio.create_task(self._watch(task, entry))
        try:
            task.result = await asyncio.to_thread(work)
            task.state = "failed" if task.result.get("faults") else "succeeded"
        except Paused:
            task.state, task.done = "paused", await asyncio.to_thread(_bytes_on_disk, entry)
        except SoundloomError as error:
            task.state, task.result = "failed", problem_of(error)
        except Exception as error:  # the state must not stay "running"
            log.exception("%s of %s failed", task.action, task.model)
            task.state, task.result = "failed", problem_of(error)
        finally:
            watch.cancel()
        await self._report(task)

    async def _watch(self, task: Task, entry: ModelEntry) -> None:
        """Report how much of a download is on disk."""
        while True:
            if task.action == "pull":
                task.done = min(await asyncio.to_thread(_bytes_on_disk, entry), task.total or 2**62)
            await self._report(task)
            await asyncio.sleep(REPORT_SECONDS)

    async def _report(self, task: Task) -> None:
        facts = {"model": task.model, "action": task.action, "state": task.state}
        self.dispatcher.hub.progress(
            f"model {task.model}", facts | {"done": task.done, "total": task.total}, always=True
        )
        if task.state not in ("running", "paused"):
            await self.dispatcher.tell("download", facts | {"result": task.result})

    def _entry(self, name: str) -> ModelEntry:
        entry = find_entry(name.partition("@")[0])
        require_allowed(name, self.dispatcher.settings.allowed)
        if entry is None or not entry.public:
            raise ModelNotFoundError(f"there is no model named {shown(name)!r}", "GET /v1/models lists the models")
        return entry


class LicenseError(SoundloomError):
    """The license of a model was not accepted."""


class ModelStateError(SoundloomError):
    """A model is in use, or is not in the state that was expected."""


def _pull(entry: ModelEntry, name: str, pause: threading.Event) -> dict[str, Any]:
    if entry.sources:
        transfer_files(entry, name.partition("@")[2] or "published", pause, accept_license=True)
    open_it: Any = open_music if is_music(name) else open_checkpoint
    return {"files": len(open_it(name, accept_license=True).files)}


def _verify(name: str) -> dict[str, Any]:
    open_it: Any = open_music if is_music(name) else open_checkpoint
    report = verify(open_it(name, offline=True))
    return {"tensors": report.tensors, "parameters": report.parameters, "faults": list(report.faults)}


def _facts(entry: ModelEntry) -> dict[str, Any]:
    return {
        "id": entry.name,
        "owned_by": "soundloom",
        "license": entry.license,
        "installed": is_installed(entry),
        "bytes": _bytes(entry) or None,
        "removable": removable_bytes(entry) if entry.sources else 0,
        "max_seconds": entry.max_seconds or None,
        "default_seconds": entry.default_seconds,
        "kind": entry.kind,
    }


def _facts_of_source(name: str) -> dict[str, Any]:
    facts = {"id": name, "owned_by": "user", "license": "", "installed": True, "bytes": None, "removable": 0}
    return facts | {"max_seconds": None, "default_seconds": DEFAULT_SECONDS, "kind": "generator"}


def _bytes(entry: ModelEntry) -> int:
    return sum(file.size or file.approximate_size or 0 for _, file in files_needed(entry)) if entry.sources else 0


def _bytes_on_disk(entry: ModelEntry) -> int:
    folders = {cache_folder(source.repo) for source in sources_needed(entry)}
    files = (path for folder in folders for path in (folder / "blobs").glob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)
