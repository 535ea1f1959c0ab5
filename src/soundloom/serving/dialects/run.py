"""What the dialects share: receive requests, run jobs to their end, and answer with audio."""

from __future__ import annotations

import asyncio
import hashlib
import io
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soundfile
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample
from soundloom.errors import RequestError, SoundloomError
from soundloom.serving.dialects.fields import Fields, FieldsError
from soundloom.serving.http.owners import find_take
from soundloom.serving.jobs.resolve import JobBody
from soundloom.serving.jobs.settings import JobEndedError, TooLargeError
from soundloom.serving.server import Server
from soundloom.serving.storage.events import answer_key, claim_key
from soundloom.serving.storage.rows import ENDED, Artifact, Job, Take, dump_json
from soundloom.serving.uploads import store_upload
from soundloom.untrusted.json import decode_json

MAX_FORM_BYTES = 2**28  # 256 MiB
MAX_BODY_BYTES = 2**20  # of JSON without audio
MAX_FIELDS, MAX_FIELD_BYTES, MAX_FILES = 40, 2**16, 2
LOOK_SECONDS = 0.5  # between two looks whether the client is still there
MEDIA_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "pcm": "audio/pcm",
    "opus": "audio/opus",
}
OPUS_RATE = 48_000  # Hz
MAX_SEED = 2**31 - 1  # of seeds that are drawn: clients hold them in 32 bits
_BLOCK = 65_536


class JobFailedError(SoundloomError):
    """The job of a request failed; `problem` says why."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["message"], problem.get("hint", ""))
        self.problem = problem


class ClientGone(Exception):  # noqa: N818 (it says what happened, not what is wrong)
    """The client has closed the connection."""


# Requests


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request. Raises TooLargeError in mid-stream."""
    return await _limited(request, limit).body()


async def read_json(request: Request, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the JSON object of a body, whatever its content type. Raises FieldsError or TooLargeError."""
    data = await read_body(request, limit)
    try:
        found = decode_json(data or b"{}", limit)
    except ValueError as error:
        raise FieldsError([("body", f"is no valid JSON: {error}")]) from error
    if not isinstance(found, dict):
        raise FieldsError([("body", "must be a JSON object")])
    return found


async def read_form(request: Request, limit: int = MAX_FORM_BYTES) -> FormData:
    """Return the fields and files of a form. Raises TooLargeError in mid-stream."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise FieldsError([("content-type", "must be multipart/form-data")])
    form = _limited(request, limit).form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    return await form


def _limited(request: Request, limit: int) -> Request:
    """Return the request with a body that raises TooLargeError beyond a limit."""
    error = TooLargeError(f"the body has more than {limit >> 20} MiB", "send less audio, or FLAC")
    claimed = request.headers.get("content-length", "")
    received = 0

    async def receive() -> Message:
        nonlocal received
        if claimed.isdecimal() and len(claimed) < 20 and int(claimed) > limit:
            raise error
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise error
        return message

    return Request(request.scope, receive)


async def store_part(server: Server, part: UploadFile, seconds: float = 0.0) -> Artifact:
    """Store a file of a form, or its first seconds."""
    with server.store.temporary(".upload") as path:

        def copy() -> None:
            with path.open("wb") as file:
                shutil.copyfileobj(part.file, file)

        await asyncio.to_thread(copy)
        return await store_upload(server, path, part.filename or "", seconds)


# Jobs


@dataclass(frozen=True)
class Started:
    """A job that was accepted, and the jobs that follow it, each from the result of the last."""

    job: str
    rest: tuple[JobBody, ...] = ()
    key: str | None = None


async def start(server: Server, bodies: Sequence[JobBody], client: str, key: str | None = None) -> Started:
    """Submit the first job of a chain; with an idempotency key, repeated requests get the first one's job.

    Raises what `Dispatcher.submit` does, and RequestError for a key that was used with another request.
    """
    first, rest = _with_seed(bodies[0], 1 + secrets.randbelow(MAX_SEED)), tuple(bodies[1:])
    if key is None:
        return Started((await server.dispatcher.submit(first, client)).id, rest)
    digest = hashlib.sha256(dump_json([vars(body) for body in bodies]).encode()).hexdigest()
    while (claim := await server.dispatcher.call(lambda c: claim_key(c, client, key, digest)))[0] == "pending":
        await asyncio.sleep(LOOK_SECONDS)
    state, answer = claim
    if state == "other":
        raise RequestError("this idempotency key was used with another request", "use a new key")
    if state == "answered":
        return Started(answer["id"], rest, key)
    try:
        job = await server.dispatcher.submit(first, client)
    except BaseException:
        await server.dispatcher.call(lambda c: answer_key(c, client, key, None))
        raise
    await server.dispatcher.call(lambda c: answer_key(c, client, key, {"id": job.id}))
    return Started(job.id, rest, key)


def _with_seed(body: JobBody, seed: int) -> JobBody:
    return body if "seed" in body.request else replace(body, request={**body.request, "seed": seed})


async def finish(server: Server, started: Started, client: str, watched: Request | None = None) -> Take:
    """Return the result of a chain of jobs; cancel it when the watched client is gone.

    Raises JobFailedError, JobEndedError if it was canceled, and ClientGone.
    """
    take = await _result(server, started.job, watched)
    for number, body in enumerate(started.rest, 1):
        following = _with_seed(replace(body, source=take.id), take.record["seed"])
        key = f"{started.key}:{number}" if started.key else None
        take = await _result(server, (await start(server, [following], client, key)).job, watched)
    return take


async def _result(server: Server, name: str, watched: Request | None) -> Take:
    """Return the take of a job when it has ended. Raises SoundloomError if the server stops before."""
    while (job := await server.dispatcher.wait_for_end(name, LOOK_SECONDS)).state not in ENDED:
        if server.dispatcher.is_stopping:
            raise SoundloomError("the server is stopping", "try again when it is back")
        if watched is not None and await watched.is_disconnected():
            await server.dispatcher.cancel(name)
            raise ClientGone
    return await find_take(server, take_of(job))


def take_of(job: Job) -> str:
    """Return the take of a job that has ended. Raises JobFailedError, or JobEndedError if it was canceled."""
    item = job.items[0]
    if job.state == "failed":
        raise JobFailedError(item.error or {"type": "output-error", "message": job.reason or "the job failed"})
    if item.take is None:
        raise JobEndedError("the job was canceled")
    return item.take


def model_named(server: Server, name: str, aliases: Sequence[str]) -> str:
    """Return the model for a name: the server's own for names of the other service that begin with an alias."""
    if (own := server.settings.aliases.get(name.lower())) is not None:
        return own
    if not name or name.lower().startswith(tuple(aliases)):
        return server.settings.model
    return name


# Answers


async def encoded(server: Server, take: Take, format: str, **options: Any) -> bytes:
    """Return the audio of a take as a file; `options` are those of `Clip.save`."""
    return await asyncio.to_thread(_encode, Clip.load(server.store.path(take.artifact.hash)), format, options)


def _encode(clip: Clip, format: str, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    rate = options.get("rate") or clip.sample_rate
    if format == "pcm":
        audio = np.clip(resample(clip.audio, clip.sample_rate, rate), -1, 1)
        soundfile.write(out, audio.T, rate, "PCM_16", "LITTLE", "RAW")
        return out.getvalue()
    if format == "opus":
        audio = resample(clip.audio, clip.sample_rate, OPUS_RATE).T
        with soundfile.SoundFile(out, "w", OPUS_RATE, clip.channels, "OPUS", format="OGG") as file:
            for first in range(0, len(audio), _BLOCK):  # longer blocks crash the encoder
                file.write(np.ascontiguousarray(audio[first : first + _BLOCK]))
        return out.getvalue()
    if format == "wav":
        options = {"subtype": "PCM_16", **options}
    clip.save(out, format=format, **options)
    return out.getvalue()


def answer_headers(fields: Fields) -> dict[str, str]:
    """Return the header that names what was not honored."""
    return {"soundloom-ignored": ", ".join(fields.ignored)} if fields.ignored else {}
