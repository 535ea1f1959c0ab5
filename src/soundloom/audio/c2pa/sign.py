"""Sign audio files: the manifest goes into WAV, FLAC and MP3 files, and beside OGG files.

A manifest covers the bytes of the file, so it is written after the tags.
"""

from __future__ import annotations

import logging
import mimetypes
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from soundloom.atomic import atomic_path, write_errors
from soundloom.audio.c2pa.credentials import Credentials, load_credentials
from soundloom.audio.c2pa.library import BESIDE, EMBEDDING, context, load_library, manifest_path
from soundloom.audio.c2pa.manifest import Manifest, Parent, actions, recorded_parent
from soundloom.audio.disclosure import source_type_uri
from soundloom.errors import AudioError, RequestError, printable, shown

log = logging.getLogger(__name__)

UNKNOWN_TYPE = "application/octet-stream"
ACTION = re.compile(r"[a-z0-9_-]+(\.[a-zA-Z0-9_-]+)+")


@dataclass(frozen=True)
class C2paOptions:
    """How to sign a file.

    `cert` and `key` are PEM files; without them those of the settings sign, or self-signed ones. `source` is the file
    that was edited, which becomes an ingredient with its own manifest. `action` is what was done to the source, such as
    c2pa.trimmed, where the clip's record does not say it.
    """

    cert: str | Path | None = None
    key: str | Path | None = None
    source: str | Path | None = None
    action: str | None = None

    def __post_init__(self) -> None:
        for name in ("cert", "key", "source"):
            if (value := getattr(self, name)) is not None and not isinstance(value, str | PathLike):
                raise RequestError(f"{name} must be the path of a file, found {shown(value)}")
        if self.action is not None and not (isinstance(self.action, str) and ACTION.fullmatch(self.action)):
            raise RequestError(f"an action has a name such as c2pa.trimmed, found {shown(self.action)}")

    def credentials(self) -> Credentials:
        """Return certificate and key, after a trial signature. Raises RequestError."""
        c2pa = load_library()
        found = load_credentials(*(None if path is None else Path(path) for path in (self.cert, self.key)))
        steps = actions({"model": "trial"}, has_parent=False, is_loaded=False, action=None)
        try:
            trial = _builder(c2pa, found, Manifest("trial", steps, None).definition())
            trial.sign(EMBEDDING[".wav"], BytesIO(_TRIAL), BytesIO())
        except c2pa.C2paError as error:
            raise RequestError(
                f"{found.source} cannot sign C2PA manifests: {shown(str(error))}",
                "it must be a certificate for signing email or documents, followed by those that issued it",
            ) from error
        return found


_TRIAL = b"RIFF" + struct.pack("<I4s4sIHHIIHH4sIH", 38, b"WAVE", b"fmt ", 16, 1, 1, 44100, 88200, 2, 16, b"data", 2, 0)


def as_options(c2pa: Any) -> C2paOptions:
    """Return the options of `Clip.save(c2pa=…)`, checked. Raises RequestError."""
    if c2pa is not True and not isinstance(c2pa, C2paOptions):
        raise RequestError(f"c2pa must be True, False or C2paOptions, found {shown(c2pa)}")
    options = C2paOptions() if c2pa is True else c2pa
    options.credentials()
    if options.source is not None and not Path(options.source).is_file():
        raise RequestError(f"the source {printable(options.source)} is not a file", "name the file that was edited")
    return options


def sign_file(
    file: Path, path: Path, record: Mapping[str, Any], options: C2paOptions, name: str = "", overwrite: bool = True
) -> None:
    """Sign `file`, which will be renamed to `path`; write the manifest into it, or beside `path`.

    `name` is the file that the clip was loaded from, or "". Raises RequestError, AudioError or WriteError.
    """
    c2pa, found = load_library(), options.credentials()
    parent = recorded_parent(record, name)
    source = Path(options.source) if options.source is not None else None
    steps = actions(
        record,
        has_parent=source is not None or parent is not None,
        is_loaded=bool(name) and source is None,
        action=options.action,
    )
    media_type = (EMBEDDING | BESIDE)[path.suffix.lower()]
    manifest = Manifest(printable(path.name), steps, source_type_uri(record))
    builder = _with_ingredient(c2pa, found, manifest, source, parent)
    beside = manifest_path(path)
    if beside is not None:
        builder.set_no_embed()
        with atomic_path(beside, overwrite=overwrite) as new, write_errors(beside):
            new.write_bytes(_signed(c2pa, builder, media_type, file, None, path))
        return
    with atomic_path(file) as new:
        _signed(c2pa, builder, media_type, file, new, path)


def _signed(c2pa: ModuleType, builder: Any, media_type: str, file: Path, out: Path | None, path: Path) -> bytes:
    """Sign `file`, write it with its manifest to `out`, and return the manifest."""
    try:
        with write_errors(path), file.open("rb") as data:
            if out is None:
                return bytes(builder.sign(media_type, data, BytesIO()))
            with out.open("w+b") as signed:
                return bytes(builder.sign(media_type, data, signed))
    except c2pa.C2paError as error:
        raise AudioError(f"{printable(path)} could not be signed: {shown(str(error))}") from error


def _with_ingredient(
    c2pa: ModuleType, found: Credentials, manifest: Manifest, source: Path | None, parent: Parent | None
) -> Any:
    """Return a builder of the manifest whose ingredient is the file `source`, else what is known of it."""
    if source is None:
        return _builder(c2pa, found, manifest.definition(parent))
    known = Parent(printable(source.name))
    builder = _builder(c2pa, found, manifest.definition())
    suffix = source.suffix.lower()
    media_type = (EMBEDDING | BESIDE).get(suffix) or mimetypes.guess_type(source.name)[0] or UNKNOWN_TYPE
    try:
        with source.open("rb") as data:
            builder.add_ingredient(known.definition(), media_type, data)
    except OSError as error:
        raise RequestError(f"the source {printable(source)} cannot be read: {error.strerror}") from error
    except c2pa.C2paError as error:
        log.warning("the C2PA manifest of %s is left out, because it is damaged: %s", printable(source), error)
        return _builder(c2pa, found, manifest.definition(Parent(known.title, "its own manifest is damaged")))
    return builder


def _builder(c2pa: ModuleType, found: Credentials, manifest: Mapping[str, Any]) -> Any:
    info = c2pa.C2paSignerInfo(found.algorithm, found.chain, found.key, None)  # no time stamp: that needs a network
    return c2pa.Builder(manifest, context(c2pa, signer=c2pa.Signer.from_info(info)))
