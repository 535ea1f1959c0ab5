"""What the program keeps on this machine, and where its models came from."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from soundloom.checkpoints.hub.cache import cache_folder, sources_needed
from soundloom.checkpoints.hub.first_downloads import connections
from soundloom.config.catalogue import CATALOGUE
from soundloom.folders import loras_folder
from soundloom.serving.http.owners import require_all, server_of
from soundloom.serving.http.system import is_loopback
from soundloom.serving.server import DATABASE, OBJECTS, TRASH, Server

router = APIRouter(prefix="/v1", tags=["system"])
HOST = "huggingface.co"


class FolderOut(BaseModel):
    """Files of one purpose; the path is for clients on the same machine."""

    name: str
    path: str | None
    bytes: int
    files: int


class DownloadOut(BaseModel):
    """A repository that the program connected to, last at `time`, and what is here of its files.

    `model` is empty for one that no model of the catalogue comes from, such as that of an adapter.
    """

    model: str
    host: str
    repository: str
    files: int
    bytes: int
    time: float | None


class KeptOut(BaseModel):
    """Every file that the program keeps, and every connection that it made."""

    folders: list[FolderOut]
    downloads: list[DownloadOut]


@router.get("/kept", dependencies=[Depends(require_all)])
async def kept(request: Request) -> KeptOut:
    """List the folders that the program writes to, and what was downloaded from where."""
    return await asyncio.to_thread(_kept, server_of(request), is_loopback(request))


def _kept(server: Server, shows_paths: bool) -> KeptOut:
    data = server.settings.data
    places = {
        "database": data / DATABASE,
        "sounds": data / OBJECTS,
        "pictures": data / "peaks",
        "converted": data / "converted",
        "trash": data / TRASH,
        "output": server.settings.output,
        "adapters": loras_folder(),
    }
    folders = []
    for name, path in places.items():
        if path is not None:
            files, size, _ = _measured(path)
            folders.append(FolderOut(name=name, path=str(path) if shows_paths else None, bytes=size, files=files))
    downloads = _downloads()
    size, count = sum(one.bytes for one in downloads), sum(one.files for one in downloads)
    folders.append(FolderOut(name="models", path=None, bytes=size, files=count))
    return KeptOut(folders=folders, downloads=downloads)


def _downloads() -> list[DownloadOut]:
    """Return all repositories that were connected to, also for models that were removed; each is named once."""
    known = connections()
    models: dict[str, str] = {}
    for entry in CATALOGUE.values():
        for layout in entry.sources:
            for source in sources_needed(entry, layout.layout):
                models.setdefault(source.repo, entry.name)
    found = []
    for repo in dict.fromkeys([*models, *known]):
        files, size, newest = _measured(cache_folder(repo) / "blobs")
        if files or repo in known:
            time = known.get(repo) or newest or None
            found.append(
                DownloadOut(model=models.get(repo, ""), host=HOST, repository=repo, files=files, bytes=size, time=time)
            )
    return found


def _measured(path: Path) -> tuple[int, int, float]:
    """Return how many files there are, their bytes, and the time of the newest one."""
    names = [path] if path.is_file() else [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    stats = []
    for name in names:
        try:
            stats.append(name.stat())
        except OSError:  # it is gone meanwhile
            continue
    return len(stats), sum(stat.st_size for stat in stats), max((stat.st_mtime for stat in stats), default=0.0)
