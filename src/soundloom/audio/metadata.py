"""Read and write the record of a clip in the tags of its audio file, or in a JSON sidecar.

The record is JSON in the tag SOUNDLOOM. Other tags show the prompt as title, a summary as comment and
"soundloom VERSION" as encoder. WAV files have both ID3 and, for simpler readers, LIST INFO tags. The disclosure of
audio that a model made is in the comment, in a tag of its own and, in WAV files, in `bext` and `iXML`.
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import mutagen
import soundfile
from mutagen import id3

from soundloom.atomic import atomic_path, write_errors
from soundloom.audio.disclosure import FIELD as SOURCE_TYPE
from soundloom.audio.disclosure import disclosure_sentence, source_type_uri, write_chunks
from soundloom.audio.formats.find_tag import find_tag
from soundloom.audio.formats.riff import replace_chunks, replace_info
from soundloom.audio.records import recorded_title
from soundloom.audio.sampler import SamplerFacts
from soundloom.errors import AudioError, printable, shown
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json
from soundloom.untrusted.limits import read_limited
from soundloom.version import __version__

FIELD = "SOUNDLOOM"
TITLE_LENGTH = 120
SURROGATES = re.compile("[\ud800-\udfff]")  # in file names that are not UTF-8
UNREADABLE = (mutagen.MutagenError, LookupError, ValueError, struct.error)  # raised by mutagen for damaged files
EASY_NAMES = {  # of ID3 frames, as in Vorbis comments
    "TIT2": "title",
    "TPE1": "artist",
    "TCON": "genre",
    "TBPM": "bpm",
    "TKEY": "key",
    "TMOO": "mood",
}
TEXT, OBJECT, LIST = (str, "text"), (dict, "an object"), (list, "a list")
KINDS: dict[str, tuple[type, str]] = {  # of values that are read back
    "mode": TEXT,
    "model": TEXT,
    "model_hash": TEXT,
    "precision": TEXT,
    "prompt": TEXT,
    "request": OBJECT,
    "warnings": LIST,
}


def read_record(path: str | Path) -> dict[str, Any] | None:
    """Return the record in a file's tags or its sidecar, if any. Raises AudioError for damaged ones."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            record = read_tags(file, printable(path))
    except OSError as error:
        raise AudioError(f"the tags of {printable(path)} cannot be read: {error}") from error
    if record is not None:
        return record
    sidecar = sidecar_path(path)
    if sidecar == path or not sidecar.is_file():
        return None
    record = _read_sidecar(sidecar)
    return record if "soundloom" in record else None  # other programs use the same file name


def read_tags(file: BinaryIO, name: str) -> dict[str, Any] | None:
    """Return the record in the tags of an open file, if any. Raises AudioError for damaged tags."""
    try:
        text = find_tag(file, FIELD)
    except ValueError as error:
        raise AudioError(f"the tags of {name} cannot be read: {error}") from error
    return _parse(text, f"the {FIELD} tag of {name}") if text is not None else None


def _read_sidecar(sidecar: Path) -> dict[str, Any]:
    """Read a JSON sidecar. Raises AudioError."""
    try:
        text = read_limited(sidecar, MAX_RECORD_BYTES).decode()
    except (OSError, ValueError) as error:
        raise AudioError(f"{printable(sidecar)} cannot be read: {error}") from error
    return _parse(text, printable(sidecar))


def write_record(
    path: str | Path, record: Mapping[str, Any], *, name: str | Path | None = None, disclosure: bool = True
) -> None:
    """Write the record into the tags of a WAV, FLAC, OGG or MP3 file in place, preserving other tags.

    `disclosure` also states, in the fields of `soundloom.audio.disclosure`, that a model made the audio. Errors show
    `name`, for files with a temporary path.
    """
    path, name = Path(path), Path(name or path)
    text = _serialize(record)
    info, sampler = _info_tags(record, disclosure), SamplerFacts.of(record)
    uri = source_type_uri(record) if disclosure else None
    try:
        file = mutagen.File(path)
        if file is None:
            raise AudioError(f"{name} cannot have tags")
        if file.tags is None:
            file.add_tags()
        if isinstance(file.tags, id3.ID3):
            _set_id3(file.tags, info, text, uri)
            if sampler.bpm is not None:
                file.tags.setall("TBPM", [id3.TBPM(encoding=3, text=[f"{sampler.bpm:g}"])])
        else:
            fields = {"title": info["INAM"], "comment": info["ICMT"], "encoder": info["ISFT"], FIELD: text}
            fields |= sampler.vorbis_comments(soundfile.info(path).frames) | ({SOURCE_TYPE: uri} if uri else {})
            file.tags.update(fields)
        file.save()
    except UNREADABLE as error:
        raise AudioError(f"the tags of {name} could not be written: {error}") from error
    if path.suffix.lower() == ".wav":
        with write_errors(name), path.open("rb+") as raw:
            replace_info(raw, info)
            if disclosure:
                write_chunks(raw, record, info["ICMT"])
            if sampler != SamplerFacts():
                sound = soundfile.info(path)
                replace_chunks(raw, sampler.chunks(sound.frames, sound.samplerate))


def sidecar_path(path: str | Path) -> Path:
    """Return `NAME.json` for `NAME.wav`."""
    return Path(path).with_suffix(".json")


def is_foreign_sidecar(path: str | Path) -> bool:
    """Whether the sidecar path of `path` is taken by a file that soundloom did not write."""
    sidecar = sidecar_path(path)
    if not sidecar.exists():
        return False
    try:
        return "soundloom" not in _read_sidecar(sidecar)
    except AudioError:
        return True


def write_sidecar(path: str | Path, record: Mapping[str, Any], *, overwrite: bool = True) -> Path:
    """Write the record as JSON next to the audio file `path`."""
    sidecar = sidecar_path(path)
    text = _serialize(record, indent=2)
    with atomic_path(sidecar, overwrite=overwrite) as new, write_errors(sidecar):
        new.write_text(text + "\n", encoding="utf-8")
    return sidecar


def _serialize(record: Mapping[str, Any], indent: int | None = None) -> str:
    full = {"soundloom": __version__, **record}
    try:
        text = json.dumps(full, ensure_ascii=False, allow_nan=False, indent=indent)
        return SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
    except (TypeError, ValueError, RecursionError) as error:
        raise AudioError(f"the record of a clip must hold JSON values: {error}") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        record = decode_json(text, MAX_RECORD_BYTES)
    except (ValueError, RecursionError) as error:
        raise AudioError(f"{where} is damaged: {error}") from error
    if not isinstance(record, dict):
        raise AudioError(f"{where} is damaged: it holds {type(record).__name__}, not an object")
    for name, (kind, wanted) in KINDS.items():
        if (value := record.get(name)) is not None and not isinstance(value, kind):
            raise AudioError(f"{where} is damaged: {name} must be {wanted}, found {shown(value)}")
    if not all(isinstance(warning, str) for warning in record.get("warnings") or ()):
        raise AudioError(f"{where} is damaged: warnings must be texts")
    return record


def _info_tags(record: Mapping[str, Any], disclosure: bool) -> dict[str, str]:
    """Return the other tags by their LIST INFO names: INAM title, ICMT comment, ISFT software."""
    title = SURROGATES.sub("\N{REPLACEMENT CHARACTER}", " ".join(recorded_title(record).split()))
    if len(title) > TITLE_LENGTH:
        title = title[: TITLE_LENGTH - 1].rstrip() + "…"
    details = [f"{name} {record[name]}" for name in ("model", "seed") if record.get(name) is not None]
    software = f"soundloom {__version__}"
    comment = f"Made with {', '.join([software, *details])}."
    if disclosure:
        comment = f"{disclosure_sentence(record)} {comment}".strip()
    return {"INAM": title, "ICMT": comment, "ISFT": software}


def _set_id3(tags: id3.ID3, info: Mapping[str, str], text: str, source_type: str | None) -> None:
    frames = [
        id3.TIT2(encoding=3, text=[info["INAM"]]),
        id3.COMM(encoding=3, lang="eng", desc="", text=[info["ICMT"]]),
        id3.TSSE(encoding=3, text=[info["ISFT"]]),
        id3.TXXX(encoding=3, desc=FIELD, text=[text]),
    ]
    if source_type:
        frames.append(id3.TXXX(encoding=3, desc=SOURCE_TYPE, text=[source_type]))
    for frame in frames:
        tags.setall(frame.HashKey, [frame])


def read_embedded_tags(path: Path) -> dict[str, Any]:
    """Return the tags of a file as lists of texts by the usual names: title, artist, genre, bpm, mood …

    A file that soundloom made has its prompt under `prompt`. Raises AudioError for tags that cannot be read.
    """
    record = read_record(path) or {}
    try:
        file = mutagen.File(path)
        tags = {} if file is None or file.tags is None else dict(file.tags)
    except UNREADABLE as error:
        raise AudioError(f"the tags of {printable(path)} cannot be read: {error}") from error
    named = {EASY_NAMES.get(key, key).lower(): getattr(value, "text", value) for key, value in tags.items()}
    found = {name: [str(text) for text in texts] for name, texts in named.items() if isinstance(texts, list)}
    prompt = recorded_title(record)
    return {**found, "prompt": [prompt]} if prompt else found
