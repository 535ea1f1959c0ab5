"""Clips of a server's library, and sources for its edits."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip, as_clip
from soundloom.client.protocol import Call, Steps, ask, segment
from soundloom.client.shapes import Take
from soundloom.errors import RequestError, shown

ID_LENGTH = 16  # of a take
SUBTYPE = "FLOAT"  # uploads are exact


@dataclass(frozen=True, eq=False, repr=False)
class TakeClip(Clip):
    """A clip in the library of a server: `take` is its id there. Edits of it upload nothing.

    A clip made from it, such as a part of it, is an ordinary clip.
    """

    take: str = field(default="", init=False)
    server: str = field(default="", init=False)

    @classmethod
    def of(cls, clip: Clip, record: dict[str, Any], take: str, server: str) -> TakeClip:
        """Return a clip with another record as a take of a server."""
        found = cls(clip.audio, clip.sample_rate, record, clip.source_format, clip.name)
        object.__setattr__(found, "take", take)  # not by the constructor, so that changed copies have no id
        object.__setattr__(found, "server", server)
        return found


Source = Clip | str | PathLike[str]  # a clip, the path of a file, or the id of a take


def fetch_take(server: str, take: str, like: Clip | None = None) -> Steps[TakeClip]:
    """Return a take as a clip; an edit of `like` has its file format, so that it is saved in the same way."""
    take = segment("take", take)
    found: Take = (yield from ask(Call("GET", f"/v1/takes/{take}"))).json()
    content = (yield from ask(Call("GET", f"/v1/takes/{take}/audio"))).content
    audio = Clip.load(io.BytesIO(content))
    clip = Clip(audio.audio, audio.sample_rate, source_format=like.source_format if like else None)
    return TakeClip.of(clip, found["record"], take, server)


def open_source(server: str, source: Source) -> Steps[Clip]:
    """Return the source of an edit as a clip. Raises RequestError or AudioError."""
    if isinstance(source, str) and _is_id(source) and not Path(source).exists():
        return (yield from fetch_take(server, source))
    if not isinstance(source, Clip | str | PathLike):
        as_clip(source)  # raises an error that names what was given
        raise RequestError(f"audio must be a Clip, the path of a file or the id of a take, found {shown(source)}")
    return as_clip(source)


def upload(server: str, clip: Clip) -> Steps[str]:
    """Return the id of a clip on the server, where it is uploaded unless it is there already."""
    if isinstance(clip, TakeClip) and clip.take and clip.server == server:
        return clip.take
    file = clip.name or "clip.wav", clip.to_bytes("wav", subtype=SUBTYPE)
    found = (yield from ask(Call("POST", "/v1/uploads", file=(Path(file[0]).stem + ".wav", file[1])))).json()
    return str(found["id"])


def _is_id(text: str) -> bool:
    return len(text) == ID_LENGTH and text.isascii() and text.isalnum()
