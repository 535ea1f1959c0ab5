"""Routes of the library: takes, their audio, and their families."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from soundloom.atomic import atomic_path, make_folder
from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.errors import RequestError
from soundloom.serving.comparison import Comparison, compare
from soundloom.serving.http.answers import PurgedOut
from soundloom.serving.http.contract import content, problems
from soundloom.serving.http.files import AUDIO, MEDIA_TYPES, AudioFile
from soundloom.serving.http.owners import own_take, owner_of, server_of
from soundloom.serving.http.schemas import ComparisonOut, Strict, TakeChange, TakeOut, TakesOut
from soundloom.serving.http.searching import search_of
from soundloom.serving.http.selections import MAX_TAG
from soundloom.serving.jobs.settings import NotFoundError
from soundloom.serving.output import stem_of
from soundloom.serving.peaks import MAX_LEVEL, pyramid, spectrogram_tile, tile_count, tile_span
from soundloom.serving.server import Server
from soundloom.serving.storage.events import add_event
from soundloom.serving.storage.output_names import place_in_job
from soundloom.serving.storage.rows import Artifact, Take
from soundloom.serving.storage.search import Search
from soundloom.serving.storage.takes import (
    change_take,
    delete_take,
    get_take,
    lineage,
    list_takes,
    purge_deleted,
    restore_take,
)

router = APIRouter(prefix="/v1/takes", tags=["library"])
Format = Literal["wav", "flac", "mp3", "ogg"]
Subtype = Literal["16", "24", "float"]
SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
FORMAT_SUBTYPES: dict[Format, tuple[Subtype, ...]] = {
    "wav": ("16", "24", "float"),
    "flac": ("16", "24"),
    "mp3": (),
    "ogg": (),
}


class FileFormat(Strict):
    """The format of a file, and the precision of its samples; without `subtype` it is that of the stored file."""

    format: Format = "wav"
    subtype: Subtype | None = None


PICTURE = {**content("application/octet-stream", text="Data to draw"), **problems(507)}
FOREVER = "private, max-age=31536000, immutable"  # audio of a take never changes


@router.get("")
async def takes(
    request: Request,
    search: Annotated[Search, Depends(search_of)],
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> TakesOut:
    """List takes; `text` finds words of titles, prompts, tags and notes."""
    wanted = replace(search, limit=limit, offset=offset)
    found, count = await server_of(request).dispatcher.call(lambda connection: list_takes(connection, wanted))
    return TakesOut(takes=[TakeOut.of(take) for take in found], count=count)


@router.delete("")
async def purge(request: Request) -> PurgedOut:
    """Remove the takes that were deleted for good, and their files, instead of after 30 days."""
    server, owner = server_of(request), owner_of(request)
    count, files = await server.dispatcher.call(lambda connection: purge_deleted(connection, owner))
    for file in files:
        await asyncio.to_thread(server.store.path(file.hash).unlink, missing_ok=True)
    await server.dispatcher.tell("system", {"library": "purged", "takes": count}, owner)
    server.dispatcher.disk.look()
    return PurgedOut(takes=count, bytes=sum(file.bytes for file in files))


@router.get("/{take}")
async def one_take(take: str, request: Request) -> TakeOut:
    """Return a take."""
    return TakeOut.of(await own_take(request, take))


@router.patch("/{take}")
async def change(take: str, body: TakeChange, request: Request) -> TakeOut:
    """Change title, note, tags or the favorite mark."""
    tags = None if body.tags is None else [tag.strip() for tag in body.tags if tag.strip()]
    if tags is not None and any(len(tag) > MAX_TAG or "\n" in tag for tag in tags):
        raise RequestError(f"tags have at most {MAX_TAG} characters and no line breaks")
    await _change(request, take, lambda c: change_take(c, take, **body.model_dump(exclude={"tags"}), tags=tags))
    return TakeOut.of(await own_take(request, take))


@router.delete("/{take}", status_code=204)
async def delete(take: str, request: Request) -> None:
    """Delete a take; it can be restored for 30 days."""
    await _change(request, take, lambda connection: delete_take(connection, take))


@router.post("/{take}/restore")
async def restore(take: str, request: Request) -> TakeOut:
    """Restore a deleted take."""
    await _change(request, take, lambda connection: restore_take(connection, take))
    return TakeOut.of(await own_take(request, take))


async def _change(request: Request, take: str, work: Any) -> None:
    server, owner = server_of(request), (await own_take(request, take)).client

    def store(connection: Any) -> Any:
        work(connection)
        return add_event(connection, "take", {"id": take, "changed": True}, owner)

    server.hub.publish(await server.dispatcher.call(store))


@router.get("/{take}/lineage")
async def family(take: str, request: Request) -> list[TakeOut]:
    """Return what a take was made from, and what was made from it, oldest first."""
    owner = (await own_take(request, take)).client if owner_of(request) else None
    found = await server_of(request).dispatcher.call(lambda connection: lineage(connection, take))
    return [TakeOut.of(one) for one in found if owner in (None, one.client)]


async def audio_file(server: Server, take: Take) -> Path:
    """Return the file of a take. Raises NotFoundError."""
    path = server.store.path(take.artifact.hash)
    if not await asyncio.to_thread(path.is_file):
        raise NotFoundError(
            f"the audio file of take {take.id} is missing", "restore it in the data folder of the server"
        )
    return path


@router.get("/{take}/audio", response_class=AudioFile, responses=AUDIO)
async def audio(
    take: str,
    request: Request,
    format: Format = "wav",
    subtype: Subtype | None = None,
    download: bool = False,
) -> Response:
    """Return the audio of a take, also parts of it (Range), as it is stored or converted."""
    server = server_of(request)
    found = await own_take(request, take)
    path = await audio_file(server, found)
    name = await download_name(server, found, format) if download else None
    if download and format == "wav" and subtype is None:
        subtype = await server.dispatcher.call(lambda connection: subtype_of_source(connection, found))
    return await send_audio(request, found.artifact, path, format, subtype, name)


def subtype_of_source(connection: Any, take: Take) -> Subtype | None:
    """Return the subtype of the uploaded file that a take was edited from, or None if there is none."""
    seen = {take.id}
    while take.parent is not None and take.parent not in seen and (parent := get_take(connection, take.parent)):
        seen.add(parent.id)
        take = parent
    known: tuple[Subtype, ...] = ("16", "24")
    return next((one for one in known if take.kind == "upload" and SUBTYPES[one] == take.artifact.subtype), None)


async def download_name(server: Server, take: Take, format: Format) -> str:
    """Return the name of a take's file for people."""
    return await server.dispatcher.call(lambda connection: name_of(connection, server, take, format))


def name_of(connection: Any, server: Server, take: Take, format: Format) -> str:
    """Do the same with the database's connection."""
    number, count = place_in_job(connection, take.id)
    return f"{stem_of(take, server.settings.names, number, count)}.{format}"


async def file_in_format(
    server: Server, artifact: Artifact, path: Path, format: Format, subtype: Subtype | None
) -> Path:
    """Return a stored file, or a copy of it in another format. Raises RequestError for one that does not exist."""
    return await asyncio.to_thread(convert, server, artifact, path, format, subtype)


def convert(server: Server, artifact: Artifact, path: Path, format: Format, subtype: Subtype | None) -> Path:
    """Do the same, and wait for it."""
    require_subtype(format, subtype)
    if format == "wav" and (subtype is None or SUBTYPES[subtype] == artifact.subtype):
        return path
    return _converted(server, path, format, subtype)


def require_subtype(format: Format, subtype: Subtype | None) -> None:
    """Raise RequestError for a precision that a format does not have."""
    if subtype not in (None, *FORMAT_SUBTYPES[format]):
        known = ", ".join(FORMAT_SUBTYPES[format])
        raise RequestError(f"{format} has no subtype {subtype}", f"use {known}" if known else "leave out subtype")


async def send_audio(
    request: Request, artifact: Artifact, path: Path, format: Format, subtype: Subtype | None, name: str | None = None
) -> Response:
    """Answer with a stored file, as it is or converted; with a `name`, for browsers to save."""
    used = await file_in_format(server_of(request), artifact, path, format, subtype)
    tag = f'"{artifact.hash[:32]}-{format}-{subtype or "stored"}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    headers = {"ETag": tag, "Cache-Control": FOREVER}
    return AudioFile(used, media_type=MEDIA_TYPES[format], headers=headers, filename=name)


def _converted(server: Server, path: Path, format: Format, subtype: str | None) -> Path:
    """Return a copy in another format, which is made once."""
    folder = server.settings.data / "converted"
    key = hashlib.sha256(f"{path.stem} {format} {subtype}".encode()).hexdigest()
    target = folder / f"{key}.{format}"
    if not target.is_file():
        make_folder(folder)
        Clip.load(path).save(target, subtype=SUBTYPES[subtype] if subtype else None)
    return target


@router.get("/{take}/peaks", response_class=Response, responses=PICTURE)
async def peaks(take: str, request: Request) -> Response:
    """Return the lowest and highest samples over spans of several lengths; `serving.peaks` describes the format."""
    server = server_of(request)
    path = await audio_file(server, await own_take(request, take))
    data = await asyncio.to_thread(
        cached, server, f"{path.stem}.peaks", lambda: pyramid(StreamedClip.open(path).stream())
    )
    return Response(data, media_type="application/octet-stream", headers={"Cache-Control": FOREVER})


@router.get("/{take}/spectrogram", response_class=Response, responses=PICTURE)
async def spectrogram(
    take: str,
    request: Request,
    tile: Annotated[int, Query(ge=0, le=10**6)] = 0,
    level: Annotated[int, Query(ge=0, le=MAX_LEVEL)] = 0,
) -> Response:
    """Return a tile of the spectrogram: 256 rows of 512 bytes; a column is 256 samples times two to the level."""
    server = server_of(request)
    path = await audio_file(server, await own_take(request, take))
    data = await asyncio.to_thread(cached, server, f"{path.stem}-{level}-{tile}.tile", lambda: _tile(path, tile, level))
    return Response(data, media_type="application/octet-stream", headers={"Cache-Control": FOREVER})


def _tile(path: Path, tile: int, level: int) -> bytes:
    clip = StreamedClip.open(path)
    count = tile_count(clip.samples, level)
    if tile >= count:
        raise RequestError(
            f"the spectrogram has {count} tiles at level {level}, numbered from 0", "ask for one of them"
        )
    start, stop = tile_span(tile, level)
    inside = clip.read(max(start, 0), min(stop, clip.samples))
    audio = np.pad(inside, ((0, 0), (max(-start, 0), max(stop - clip.samples, 0))))
    return spectrogram_tile(audio, clip.sample_rate, level)


@router.get("/{take}/comparison")
async def comparison(take: str, request: Request) -> ComparisonOut:
    """Compare a take with the one that it was made from, sample by sample, outside of what was made again."""
    server = server_of(request)
    found = await own_take(request, take)
    samples = found.artifact.samples
    if found.parent is None:
        nothing = Comparison(((0, samples),), reason="it was made from words alone")
        return ComparisonOut.of(nothing, samples, None)
    mine = await audio_file(server, found)
    try:
        theirs = await audio_file(server, await own_take(request, found.parent))
    except NotFoundError:
        gone = Comparison(((0, samples),), reason="the take that it was made from is gone")
        return ComparisonOut.of(gone, samples, found.parent)
    name = hashlib.sha256(f"{take} {mine.stem} {theirs.stem}".encode()).hexdigest()
    data = await asyncio.to_thread(cached, server, f"{name}.comparison", lambda: _compared(mine, theirs, found.record))
    return ComparisonOut.of(Comparison(**json.loads(data)), samples, found.parent)


def _compared(mine: Path, theirs: Path, record: Mapping[str, Any]) -> bytes:
    found = compare(StreamedClip.open(mine), StreamedClip.open(theirs), record)
    return json.dumps(asdict(found)).encode()


def cached(server: Server, name: str, make: Callable[[], bytes]) -> bytes:
    """Return data that is made once and kept in a file."""
    path = server.settings.data / "peaks" / name
    if path.is_file():
        return path.read_bytes()
    data = make()
    make_folder(path.parent)
    with atomic_path(path) as new:
        new.write_bytes(data)
    return data
