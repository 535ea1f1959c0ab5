"""Mix a clip with the one that it was made from: regions of an edit become again what they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip
from soundloom.audio.records import digital_source_type, recorded_prompt
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.audio.write import AudioWriter
from soundloom.errors import RequestError
from soundloom.version import __version__

Span = tuple[int, int]
BLOCK = 1 << 20  # samples that are copied at a time
FACTS = ("mode", "model", "seed")


def offset_of(record: Mapping[str, Any], rate: int) -> int:
    """Return the sample of a clip where the one that it was made from begins."""
    return round((record.get("request") or {}).get("offset", 0.0) * rate)


def mix(clip: Clip, before: Clip, spans: Sequence[Span], offset: int) -> Iterator[np.ndarray]:
    """Yield a clip in blocks, within `spans` as it was before. Raises RequestError for spans that do not exist."""
    last = 0
    for start, end in spans:
        if not last <= start < end <= clip.samples:
            raise RequestError(
                f"the region [{start}, {end}] is not one of {clip.samples} samples, in order and apart from others",
                "give each region as its first sample and the one after its last",
            )
        if start < offset or end - offset > before.samples:
            raise RequestError(
                f"the take that this one was made from has no samples for the region [{start}, {end}]",
                f"it has those from {offset} up to {offset + before.samples}",
            )
        last = end
    if clip.sample_rate != before.sample_rate:
        raise RequestError(f"the rate changed from {before.sample_rate} to {clip.sample_rate} Hz, so nothing fits")
    return _blocks(clip, before, spans, offset)


def _blocks(clip: Clip, before: Clip, spans: Sequence[Span], offset: int) -> Iterator[np.ndarray]:
    edges = sorted({0, clip.samples, *(edge for span in spans for edge in span)})
    for start, end in pairwise(edges):
        is_before = any(first <= start < last for first, last in spans)
        for first in range(start, end, BLOCK):
            last = min(first + BLOCK, end)
            if is_before:
                yield to_channels(before.read(first - offset, last - offset), clip.channels)
            else:
                yield clip.read(first, last)


def mixed_record(record: Mapping[str, Any], hash: str, spans: Sequence[Span], rate: int) -> dict[str, Any]:
    """Return the record of a mix with a take of this record and file; its regions are those that are as before."""
    source = {name: record[name] for name in FACTS if name in record}
    source |= {"name": f"{hash}.wav", "prompt": recorded_prompt(record)}
    if term := digital_source_type(record):
        source["digital_source_type"] = term
    request = {"prompt": recorded_prompt(record), "regions": [[start / rate, end / rate] for start, end in spans]}
    kept = {name: record[name] for name in ("model", "model_hash", "license") if name in record}
    return {"soundloom": __version__, "mode": "mix", **kept, "request": request, "source": source}


def write_mix(target: Path, take: Path, before: Path, spans: Sequence[Span], hash: str) -> dict[str, Any]:
    """Write a mix of two files, in float, so that all samples stay; return the facts of its file and its record.

    Raises RequestError, AudioError or WriteError.
    """
    clip, source = StreamedClip.open(take), StreamedClip.open(before)
    rate = clip.sample_rate
    blocks = mix(clip, source, spans, offset_of(clip.record, rate))
    record = mixed_record(clip.record, hash, spans, rate)
    with AudioWriter(target, rate, clip.channels, subtype="FLOAT", record=record) as out:
        for block in blocks:
            out.write(block)
    facts = {"rate": rate, "channels": clip.channels, "samples": clip.samples, "subtype": out.subtype}
    return {"facts": facts, "record": out.record}
