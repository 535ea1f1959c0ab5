"""Decode one uploaded file into WAV. Runs as a process of its own: parsers of audio files have had memory errors.

`python -m soundloom.serving.decode SOURCE TARGET SECONDS` writes the first SECONDS (0: all) and prints facts as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.errors import AudioError, RequestError, SoundloomError
from soundloom.serving.problems import problem_of

MAX_SECONDS = 1200.0
MAX_BYTES = 2**30  # of decoded samples
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8000, 192_000  # Hz
MEMORY_BYTES = 2**31  # address space of this process
CPU_SECONDS = 120
NAME = "the uploaded file"  # its path is not for the client


def decode(source: Path, target: Path, seconds: float = 0.0) -> dict[str, Any]:
    """Write a file as WAV, in its sample type or in float; return its facts. Raises AudioError or RequestError."""
    from soundloom.audio.clip import record_or_empty
    from soundloom.audio.formats.containers import SourceFormat
    from soundloom.audio.metadata import read_record
    from soundloom.audio.read import UNKNOWN_LENGTH, open_audio_file, read_blocks
    from soundloom.audio.write import AudioWriter

    record = record_or_empty(lambda: read_record(source))
    with open_audio_file(source) as (file, raw):
        rate, channels, frames = file.samplerate, file.channels, file.frames
        if not MIN_RATE <= rate <= MAX_RATE:
            raise RequestError(f"{NAME} has {rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are accepted", "resample it")
        if channels > MAX_CHANNELS:
            raise RequestError(f"{NAME} has {channels} channels; at most {MAX_CHANNELS} are accepted", "mix it down")
        wanted = round(seconds * rate)
        if frames < UNKNOWN_LENGTH and not wanted:
            _require_length(frames, channels, rate)

        def blocks() -> Iterator[np.ndarray]:
            done = 0
            for block in read_blocks(file, raw, NAME):
                part = block[:, : wanted - done] if wanted else block
                done += part.shape[1]
                _require_length(done, channels, rate)  # headers may claim less
                yield part
                if wanted and done >= wanted:
                    return

        subtype = "FLOAT" if file.subtype.startswith(("MPEG", "VORBIS", "OPUS")) else None
        kind = SourceFormat(file.format, file.subtype)
        disclosure = bool(record)  # sound of others is not marked as generated
        with AudioWriter(
            target, rate, channels, subtype=subtype, source=kind, record=record, disclosure=disclosure
        ) as out:
            for block in blocks():
                out.write(block)
            if not out.samples:
                raise AudioError(f"{NAME} has no samples")
        return {"rate": rate, "channels": channels, "samples": out.samples, "subtype": out.subtype}


def _require_length(frames: int, channels: int, rate: int) -> None:
    if frames > MAX_SECONDS * rate or frames * channels * 4 > MAX_BYTES:
        raise RequestError(
            f"{NAME} has more than {MAX_SECONDS / 60:g} minutes, or {MAX_BYTES >> 20} MiB of samples",
            "send a shorter part of it",
        )


def limit_process() -> None:
    """Limit the memory and the time of this process, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    for kind, limit in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS)):
        try:
            resource.setrlimit(kind, (limit, limit))
        except (OSError, ValueError):  # macOS has no limit of address space
            continue


def main(arguments: list[str]) -> int:
    """Decode, and print the facts or the error. Returns the exit code."""
    source, target, seconds = arguments
    limit_process()
    logging.disable()  # warnings would name the temporary file
    try:
        found = decode(Path(source), Path(target), float(seconds))
    except SoundloomError as error:
        found = {"error": {**problem_of(error), "message": str(error.args[0]).replace(source, NAME)}}
    except MemoryError:
        found = {"error": {"type": "audio-error", "message": f"{NAME} needs too much memory", "hint": ""}}
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
