"""State, in fields that other programs read, that a model generated or edited a clip.

The fields use the IPTC vocabulary of digital source types. Only records of generated or edited audio give them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

from soundloom.audio.formats.chunks import Chunk, chunks
from soundloom.audio.formats.riff import replace_chunks
from soundloom.audio.records import COMPOSITE, MIX, TRAINED, digital_source_type
from soundloom.version import __version__

FIELD = "DigitalSourceType"  # the name of the property in the IPTC standards
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SENTENCES = {TRAINED: "AI-generated.", COMPOSITE: "Edited with AI.", MIX: "Partly AI-generated."}
ORIGINATOR = f"soundloom {__version__}"
DESCRIPTION_BYTES, ORIGINATOR_BYTES = 256, 32  # of EBU Tech 3285
BEXT_VERSION = 1
LAYOUTS = {1: "mono", 2: "stereo"}  # other layouts have no name in EBU R98
_LOOKED_AT = 8192  # bytes of a chunk in which its author is looked for


def source_type_uri(record: Mapping[str, Any]) -> str | None:
    """Return the URI of the record's digital source type, or None for audio that no model made."""
    term = digital_source_type(record)
    return VOCABULARY + term if term else None


def disclosure_sentence(record: Mapping[str, Any]) -> str:
    """Return "AI-generated." or the like; "" for audio that no model made."""
    return SENTENCES.get(digital_source_type(record) or "", "")


def write_chunks(file: BinaryIO, record: Mapping[str, Any], comment: str) -> None:
    """Write the chunks `bext` and `iXML` of an open WAV file; those that another program wrote stay.

    The date and time of `bext` stay empty, so that equal clips make equal files.
    """
    uri = source_type_uri(record)
    if uri is None:
        return
    note = f"{comment} {FIELD}: {uri}"
    form = _form(file)
    new = {b"bext": _bext(form, note, record), b"iXML": _ixml(form[0], comment, uri)}
    taken = {chunk.name for chunk in chunks(file) if chunk.name in new and not _is_ours(file, chunk)}
    if kept := {name: data for name, data in new.items() if name not in taken}:
        replace_chunks(file, kept)


def _is_ours(file: BinaryIO, chunk: Chunk) -> bool:
    place = file.tell()
    file.seek(chunk.body)
    found = b"soundloom" in file.read(min(chunk.size, _LOOKED_AT))
    file.seek(place)
    return found


def _bext(form: tuple[int, int, int], description: str, record: Mapping[str, Any]) -> bytes:
    """Return the broadcast extension of EBU Tech 3285: description, originator and coding history (EBU R98)."""
    channels, rate, bits = form
    mode = f",M={LAYOUTS[channels]}" if channels in LAYOUTS else ""
    model = _ascii(str(record.get("model", ""))).replace(",", " ")
    history = f"A=PCM,F={rate},W={bits}{mode},T={ORIGINATOR}; {model}\r\n"
    return struct.pack(
        f"<{DESCRIPTION_BYTES}s{ORIGINATOR_BYTES}s32s10s8sQH64s190x",
        _ascii(description).encode()[:DESCRIPTION_BYTES],
        ORIGINATOR.encode()[:ORIGINATOR_BYTES],
        *(b"", b"", b"", 0, BEXT_VERSION, b""),  # reference, date, time, time reference, version, UMID
    ) + history.encode("ascii")


def _ixml(channels: int, note: str, uri: str) -> bytes:
    """Return the production metadata of iXML; some readers need its list of tracks."""
    tracks = [
        f"<TRACK><CHANNEL_INDEX>{i}</CHANNEL_INDEX><INTERLEAVE_INDEX>{i}</INTERLEAVE_INDEX></TRACK>"
        for i in range(1, channels + 1)
    ]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<BWFXML>",
        "<IXML_VERSION>2.10</IXML_VERSION>",
        f"<NOTE>{escape(note)}</NOTE>",
        f"<USER>{FIELD}: {escape(uri)}</USER>",
        f"<TRACK_LIST><TRACK_COUNT>{channels}</TRACK_COUNT>{''.join(tracks)}</TRACK_LIST>",
        "</BWFXML>",
    ]
    return "\n".join(lines).encode()


def _form(file: BinaryIO) -> tuple[int, int, int]:
    """Return channels, sample rate and bits per sample of an open WAV file."""
    for chunk in chunks(file):
        if chunk.name == b"fmt ":
            file.seek(chunk.body)
            _, channels, rate, _, _, bits = struct.unpack("<HHIIHH", file.read(16))
            return channels, rate, bits
    return 0, 0, 0


def _ascii(text: str) -> str:
    """Return the text with a question mark for each character that is not printable ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)
