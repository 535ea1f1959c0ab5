"""What other programs read about the origin of a clip: libsndfile, mutagen and an XML parser."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import mutagen
import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import write_record
from soundloom.audio.records import digital_source_type
from soundloom.version import __version__

URI = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
GENERATED = {"mode": "generate", "model": "mini", "seed": 7, "request": {"prompt": "Regen <& 鐘>"}}
EDITED = {**GENERATED, "mode": "inpaint", "source": {"name": "take.wav"}}
SFC_GET_BROADCAST_INFO = 0x10F0
RATE = 44100


@dataclass(frozen=True)
class Broadcast:
    description: str
    originator: str
    date: bytes
    version: int
    history: str


def clip(record, channels=2):
    wave = np.sin(np.arange(channels * 3000).reshape(channels, -1) / 9)
    return Clip(wave.astype(np.float32) / 2, RATE, record)


def broadcast_info(path) -> Broadcast | None:
    """Return the `bext` chunk as libsndfile reads it, in its struct SF_BROADCAST_INFO."""
    layout = "<256s32s32s10s8s2xIIh64s10s180sI256s"  # with the padding of C
    buffer = soundfile._ffi.new("char[]", struct.calcsize(layout) + 64)
    with soundfile.SoundFile(path) as file:
        if not soundfile._snd.sf_command(file._file, SFC_GET_BROADCAST_INFO, buffer, len(buffer)):
            return None
    values = struct.unpack_from(layout, soundfile._ffi.buffer(buffer)[:])
    text = [value.rstrip(b"\0").decode() for value in (values[0], values[1])]
    return Broadcast(*text, values[3].strip(b"\0"), values[7], values[12][: values[11]].rstrip(b"\0").decode())


def wav_chunk(path, name: bytes) -> bytes | None:
    data, place = path.read_bytes(), 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == name:
            return data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return None


def tag(path, name):
    tags = mutagen.File(path).tags
    if path.suffix in (".wav", ".mp3"):
        found = tags.get({"comment": "COMM::eng"}.get(name, f"TXXX:{name}"))
    else:
        found = tags.get(name, [None])[0]
    return None if found is None else str(found)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    ("record", "term", "sentence"),
    [(GENERATED, TRAINED, "AI-generated. Made with"), (EDITED, COMPOSITE, "Edited with AI. Made with")],
)
def test_tags_state_that_a_model_made_the_audio(tmp_path, suffix, record, term, sentence):
    path = clip(record).save(tmp_path / f"a.{suffix}")
    assert tag(path, "DigitalSourceType") == URI + term
    assert tag(path, "comment").startswith(sentence)
    assert Clip.load(path).record["mode"] == record["mode"]


def test_libsndfile_reads_the_broadcast_extension(tmp_path):
    found = broadcast_info(clip(GENERATED).save(tmp_path / "a.wav", subtype="PCM_16"))
    assert found.description.startswith(f"AI-generated. Made with soundloom {__version__}, model mini, seed 7.")
    assert found.description.endswith(URI + TRAINED)
    assert (found.originator, found.version, found.date) == (f"soundloom {__version__}", 1, b"")
    assert found.history.startswith(f"A=PCM,F=44100,W=16,M=stereo,T=soundloom {__version__}; mini")


def test_names_of_models_cannot_break_the_broadcast_extension(tmp_path):
    record = GENERATED | {"model": "ünï\r\ncode,T=other " * 40}
    found = broadcast_info(clip(record, channels=3).save(tmp_path / "a.wav"))
    assert len(found.description) == 256
    assert "M=" not in found.history  # three channels have no name
    assert found.history.count("T=other") > 1 and ",T=other" not in found.history
    assert found.history.count("\r\n") == found.history.endswith("\r\n")


def test_ixml_is_well_formed(tmp_path):
    path = clip(GENERATED | {"model": "a<b>&c"}).save(tmp_path / "a.wav")
    root = ElementTree.fromstring(wav_chunk(path, b"iXML"))
    assert root.tag == "BWFXML"
    assert root.findtext("NOTE") == f"AI-generated. Made with soundloom {__version__}, model a<b>&c, seed 7."
    assert root.findtext("TRACK_LIST/TRACK_COUNT") == "2"
    assert root.findtext("USER") == f"DigitalSourceType: {URI}{TRAINED}"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    ("record", "options"),
    [
        (GENERATED, {"disclosure": False}),
        ({"mode": "trim", "trim": [0, 1]}, {}),  # of a recording
        ({"mode": "decode", "model": "mini"}, {}),
        ({}, {}),
    ],
)
def test_nothing_is_stated_otherwise(tmp_path, suffix, record, options):
    path = clip(record).save(tmp_path / f"a.{suffix}", **options)
    if mutagen.File(path).tags:
        assert "AI" not in (tag(path, "comment") or "")
        assert tag(path, "DigitalSourceType") is None
    if suffix == "wav":
        assert broadcast_info(path) is None
        assert wav_chunk(path, b"iXML") is None


def test_equal_clips_make_equal_files(tmp_path):
    one, two = (clip(GENERATED).save(tmp_path / name).read_bytes() for name in ("a.wav", "b.wav"))
    assert one == two


def test_chunks_of_other_programs_stay(tmp_path):
    path = tmp_path / "a.wav"
    bext = b"location recorder".ljust(602, b"\0")
    data = clip({}).to_bytes("wav") + b"bext" + struct.pack("<I", len(bext)) + bext
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    write_record(path, GENERATED)
    assert broadcast_info(path).description == "location recorder"
    assert wav_chunk(path, b"iXML") is not None


def test_writing_again_replaces_the_chunks(tmp_path):
    path = clip(GENERATED).save(tmp_path / "a.wav")
    write_record(path, EDITED)
    assert broadcast_info(path).description.startswith("Edited with AI.")
    assert path.read_bytes().count(b"<BWFXML>") == 2  # one of them in JUNK
    assert b"Edited" in wav_chunk(path, b"iXML")


@pytest.mark.parametrize(
    ("record", "term"),
    [
        ({}, None),
        ({"model": "mini"}, TRAINED),
        (GENERATED, TRAINED),
        (EDITED, COMPOSITE),
        (EDITED | {"source": {"mode": "generate"}}, TRAINED),
        (EDITED | {"source": {"mode": "trim", "digital_source_type": TRAINED}}, TRAINED),
        (EDITED | {"source": {"mode": "inpaint", "digital_source_type": COMPOSITE}}, COMPOSITE),
        (GENERATED | {"source": "damaged"}, TRAINED),
        ({"mode": "join", "parts": [{"digital_source_type": TRAINED}] * 2}, TRAINED),
        ({"mode": "join", "parts": [{"digital_source_type": TRAINED}, {"seconds": 1}]}, "compositeSynthetic"),
        ({"mode": "join", "parts": [{"seconds": 1}, 5]}, None),
        ({"mode": "join", "parts": 5}, None),
    ],
)
def test_the_type_follows_from_the_record(record, term):
    assert digital_source_type(record) == term
