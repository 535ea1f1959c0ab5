"""Download, check, load and free models while the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soundloom.checkpoints.hub.cache import cache_folder, sources_needed
from soundloom.checkpoints.hub.fetch import files_needed
from soundloom.checkpoints.installed import is_installed
from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.config.catalogue import CATALOGUE, find_entry
from soundloom.config.entries import DEFAULT_SECONDS, ModelEntry, license_notice
from soundloom.errors import ModelNotFoundError, RequestError, SoundloomError, shown
from soundloom.serving.jobs.dispatcher import Dispatcher
from soundloom.serving.jobs.resolve import require_allowed, require_installed
from soundloom.serving.model_facts import facts_of_config, facts_of_entry
from soundloom.serving.problems import problem_of

log = logging.getLogger(__name__)
REPORT_SECONDS = 1.0


@dataclass
class Task:
    """A download or a check: what it is, how far, and how it ended."""

    model: str
    action: str  # pull or verify
    state: str = "running"  # succeeded or failed
    done: int = 0  # bytes
    total: int = 0
    result: dict[str, Any] = field(default_factory=dict)


class Models:
    """The models of a server."""

    def __init__(self, dispatcher: Dispatcher, offline: bool = False) -> None:
        self.dispatcher, self.offline = dispatcher, offline
        self.tasks: dict[str, Task] = {}  # the last one of each model
        self._running: set[asyncio.Task[None]] = set()

    def facts(self) -> list[dict[str, Any]]:
        """Describe the models that can generate."""
        loaded = {device.loaded.model for device in self.dispatcher.devices}
        entries = [entry for entry in CATALOGUE.values() if entry.public and entry.kind != "autoencoder"]
        found = [_facts(entry) for entry in entries]
        found += [_facts_of_source(name) for name in self.dispatcher.settings.sources]
        allowed = self.dispatcher.settings.allowed
        found = [one for one in found if not allowed or one["id"] in allowed]
        for one in found:
            task = self.tasks.get(one["id"])
            one |= {"object": "model", "created": 0, "loaded": one["id"] in loaded}
            one["task"] = vars(task) if task else None
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
        work = self._pull if action == "pull" else self._verify
        running_task = asyncio.get_running_loop().create_task(self._run(task, entry, work))
        self._running.add(running_task)
        running_task.add_done_callback(self._running.discard)
        return task

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

    async def _run(self, task: Task, entry: ModelEntry, work: Callable[[str], dict[str, Any]]) -> None:
        watch = asyncio.create_task(self._watch(task, entry))
        try:
            task.result = await asyncio.to_thread(work, task.model)
            task.state = "failed" if task.result.get("faults") else "succeeded"
        except SoundloomError as error:
            task.state, task.result = "failed", problem_of(error)
        except Exception as error:  # the state must not stay "running"
            log.exception("%s of %s failed", task.action, task.model)
            task.state, task.result = "failed", problem_of(error)
        finally:
            watch.cancel()
        await self._report(task)

    def _pull(self, name: str) -> dict[str, Any]:
        open_it: Any = open_music if is_music(name) else open_checkpoint
        checkpoint = open_it(name, accept_license=True)
        return {"files": len(checkpoint.files)}

    def _verify(self, name: str) -> dict[str, Any]:
        open_it: Any = open_music if is_music(name) else open_checkpoint
        report = verify(open_it(name, offline=True))
        return {"tensors": report.tensors, "parameters": report.parameters, "faults": list(report.faults)}

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
        if task.state != "running":
            await self.dispatcher.tell("download", facts | {"result": task.result})

    def _entry(self, name: str) -> ModelEntry:
        entry = find_entry(name.partition("@")[0])
        require_allowed(name, self.dispatcher.settings.allowed)
        if entry is None or not entry.public:
            raise ModelNotFoundError(f"there is no model named {shown(name)!r}", "GET /v1/models lists the models")
        return entry


class LicenseError(SoundloomError):
    """The license of a model was not accepted."""


def _facts(entry: ModelEntry) -> dict[str, Any]:
    return {
        "id": entry.name,
        "owned_by": "soundloom",
        "license": entry.license,
        "installed": is_installed(entry),
        "bytes": _bytes(entry) or None,
        "max_seconds": entry.max_seconds or None,
        "default_seconds": entry.default_seconds,
        "kind": entry.kind,
    }


def _facts_of_source(name: str) -> dict[str, Any]:
    facts = {"id": name, "owned_by": "user", "license": "", "installed": True, "bytes": None, "max_seconds": None}
    return facts | {"default_seconds": DEFAULT_SECONDS, "kind": "generator"}


def _bytes(entry: ModelEntry) -> int:
    return sum(file.size or file.approximate_size or 0 for _, file in files_needed(entry)) if entry.sources else 0


def _bytes_on_disk(entry: ModelEntry) -> int:
    folders = {cache_folder(source.repo) for source in sources_needed(entry)}
    files = (path for folder in folders for path in (folder / "blobs").glob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)
