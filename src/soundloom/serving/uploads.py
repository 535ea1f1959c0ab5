"""Files that clients send: receive them within limits, decode them in another process, and store them as artifacts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from soundloom.errors import AudioError, RequestError, SoundloomError
from soundloom.serving.display_names import display_name
from soundloom.serving.jobs.settings import TooLargeError
from soundloom.serving.server import Server
from soundloom.serving.storage.rows import Artifact
from soundloom.serving.storage.takes import add_artifact

MAX_FILE_BYTES = 2**28  # 256 MiB
DECODE_SECONDS = 180.0
FORMATS = "WAV, AIFF, FLAC, OGG and MP3"
_HEADER = 16  # bytes that identify a format


async def store_upload(server: Server, path: Path, name: str, seconds: float = 0.0) -> Artifact:
    """Decode a received file and store it, or its first `seconds`; `path` stays the caller's.

    Raises TooLargeError, AudioError for what is no audio, RequestError for audio beyond the limits, or WriteError.
    """
    require_audio(path)
    await server.dispatcher.disk.require(path.stat().st_size)
    async with server.decoders:
        with server.store.temporary() as target:
            facts = await asyncio.to_thread(_decode, path, target, seconds)
            stored = await asyncio.to_thread(server.store.add, target)
    artifact = Artifact(stored.hash, stored.bytes, **facts, name=display_name(name), made=time.time())
    await server.dispatcher.call(partial(add_artifact, artifact=artifact))
    server.dispatcher.disk.look()
    return artifact


async def store_bytes(server: Server, data: bytes, name: str, seconds: float = 0.0) -> Artifact:
    """Store a file that is in memory; raises as `store_upload` does."""
    if len(data) > MAX_FILE_BYTES:
        raise TooLargeError(f"the file has more than {MAX_FILE_BYTES >> 20} MiB", "send a shorter one, or FLAC")
    with server.store.temporary(".upload") as path:
        await asyncio.to_thread(path.write_bytes, data)
        return await store_upload(server, path, name, seconds)


def require_audio(path: Path) -> None:
    """Raise unless a file is one of the formats that are accepted, by its first bytes, and not too large."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise TooLargeError(f"the file has more than {MAX_FILE_BYTES >> 20} MiB", "send a shorter one, or FLAC")
    if not size:
        raise AudioError("the uploaded file is empty", "send WAV, AIFF, FLAC, OGG or MP3")
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if is_audio(header):
        return
    if header[4:8] == b"ftyp" or header[:4] == b"\x1aE\xdf\xa3":
        raise AudioError(
            f"the uploaded file is a video, or audio of MP4 or WebM; {FORMATS} are accepted",
            "convert it first: ffmpeg -i IN OUT.wav",
        )
    raise AudioError(f"the uploaded file is none of {FORMATS}", "convert it first: ffmpeg -i IN OUT.wav")


def is_audio(header: bytes) -> bool:
    """Whether the first bytes of a file are those of WAV, AIFF, FLAC, OGG or MP3."""
    if header[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return header[8:12] == b"WAVE"
    if header[:4] == b"FORM":
        return header[8:12] in (b"AIFF", b"AIFC")
    is_frame = len(header) > 1 and header[0] == 0xFF and header[1] & 0xE0 == 0xE0 and header[1] & 0x06 != 0
    return header[:4] in (b"fLaC", b"OggS") or header[:3] == b"ID3" or is_frame


def _decode(source: Path, target: Path, seconds: float) -> dict[str, Any]:
    """Decode a file in a process of its own. Raises the error that it reports, or AudioError if it dies."""
    command = [sys.executable, "-P", "-m", "soundloom.serving.decode", str(source), str(target), repr(seconds)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each reserves memory
    failed = AudioError("the uploaded file cannot be decoded", "check that it is a complete audio file")
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=DECODE_SECONDS, env=environment, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise failed from error
    if problem := found.get("error"):
        kinds: dict[str, type[SoundloomError]] = {"request-error": RequestError, "audio-error": AudioError}
        raise kinds.get(problem["type"], SoundloomError)(problem["message"], problem["hint"])
    return found
