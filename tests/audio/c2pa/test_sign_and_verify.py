from __future__ import annotations

import logging
import shutil
import struct

import numpy as np
import pytest
from mutagen import File

from soundloom.audio.c2pa.sign import C2paOptions
from soundloom.audio.c2pa.verify import has_manifest, verify
from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.errors import RequestError
from tests.audio.c2pa.conftest import EDITED, GENERATED, clip

c2pa = pytest.importorskip("c2pa")

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SUFFIXES = ["wav", "flac", "mp3", "ogg"]
EMBEDDING = ["wav", "flac", "mp3"]


def foreign(path, name="other tool"):
    """Sign a file as another program does: its own generator, and another action."""
    from soundloom.audio.c2pa.credentials import load_credentials
    from soundloom.audio.c2pa.library import EMBEDDING, context

    found = load_credentials()
    capture = {"action": "c2pa.created", "digitalSourceType": VOCABULARY + "digitalCapture"}
    manifest = {
        "claim_generator_info": [{"name": name, "version": "3"}],
        "title": path.name,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [capture]}}],
    }
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(found.algorithm, found.chain, found.key, None))
    signed = path.with_name(f"signed{path.suffix}")
    with path.open("rb") as data, signed.open("w+b") as out:
        c2pa.Builder(manifest, context(c2pa, signer=signer)).sign(EMBEDDING[path.suffix], data, out)
    signed.replace(path)
    return path


def changed(path, place=0.88):
    """Change one byte of a file; its manifest comes along."""
    other = path.with_stem("changed")
    data = bytearray(path.read_bytes())
    data[round(len(data) * place)] ^= 1
    other.write_bytes(data)
    if path.with_suffix(".c2pa").exists():
        shutil.copy(path.with_suffix(".c2pa"), other.with_suffix(".c2pa"))
    return other


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_signed_by_default(tmp_path, suffix, settings):
    path = clip().save(tmp_path / f"a.{suffix}")
    assert not has_manifest(path)
    assert verify(path) is None
    assert not settings.exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_signed_file_keeps_its_audio_and_tags(tmp_path, suffix):
    plain, path = clip().save(tmp_path / f"plain.{suffix}"), clip().save(tmp_path / f"a.{suffix}", c2pa=True)
    found = verify(path)
    assert (found.valid, found.tampered, found.trusted, found.problems) == (True, False, False, ())
    assert found.signer == "soundloom self-signed (untrusted)"
    assert found.digital_source_type == VOCABULARY + "trainedAlgorithmicMedia"
    assert found.actions == ("c2pa.created",)
    assert found.generator.startswith("soundloom ")
    assert found.manifest == ("a.c2pa" if suffix == "ogg" else "embedded")
    assert read_record(path) == read_record(plain)
    assert np.array_equal(Clip.load(path).audio, Clip.load(plain).audio)
    before, after = File(plain).tags, File(path).tags
    assert all(after[name] == before[name] for name in before.keys())  # noqa: SIM118 (of mutagen's tags)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_of_signed_files_are_read_exactly(tmp_path, suffix):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 200_000)).astype(np.float32)
    path = Clip(noise, 44100, GENERATED).save(tmp_path / f"a.{suffix}", c2pa=True)
    whole, long = Clip.load(path), StreamedClip.open(path)
    assert np.array_equal(long.read(123_456, 150_000), whole.audio[:, 123_456:150_000])
    assert long.record == whole.record


def test_all_chunks_of_a_wav_file_stay(tmp_path):
    plain, path = clip().save(tmp_path / "plain.wav"), clip().save(tmp_path / "a.wav", c2pa=True)
    assert path.read_bytes()[12:].startswith(plain.read_bytes()[12:])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_changed_byte_of_the_audio_is_found(tmp_path, suffix):
    found = verify(changed(clip().save(tmp_path / f"a.{suffix}", c2pa=True)))
    assert (found.valid, found.tampered) == (False, True)
    assert found.verdict.startswith("The file or its manifest was changed after soundloom self-signed")


def test_changed_tags_are_found(tmp_path):
    path = clip().save(tmp_path / "a.mp3", c2pa=True)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"AI-generated.", b"AI-gene%ated.", 1))
    assert verify(path).tampered


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_manifests_are_not_valid(tmp_path, suffix):
    path = clip().save(tmp_path / f"a.{suffix}", c2pa=True)
    file = path.with_suffix(".c2pa") if suffix == "ogg" else path
    data = file.read_bytes()
    start = data.index(b"jumb")
    for place in (start, start + 40, start + 600, start + 1500):
        file.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        assert not verify(path).valid


def test_an_edit_has_its_source_as_an_ingredient_with_its_manifest(tmp_path):
    source = clip().save(tmp_path / "take.wav", c2pa=True)
    path = clip(EDITED).save(tmp_path / "edit.flac", c2pa=C2paOptions(source=source))
    found = verify(path)
    assert found.actions == ("c2pa.opened", "c2pa.edited")
    assert found.digital_source_type == VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
    assert [(one.title, one.valid) for one in found.ingredients] == [("take.wav", True)]


def test_manifests_of_other_tools_become_ingredients(tmp_path):
    source = foreign(clip({}).save(tmp_path / "take.mp3"))
    assert verify(source).generator == "other tool 3"
    path = clip(EDITED).save(tmp_path / "edit.wav", c2pa=C2paOptions(source=source))
    assert [(one.title, one.valid) for one in verify(path).ingredients] == [("take.mp3", True)]
    again = clip(EDITED).save(source, c2pa=C2paOptions(source=source))  # replaces the file that it was made from
    assert [(one.title, one.valid) for one in verify(again).ingredients] == [("take.mp3", True)]


def test_a_changed_source_is_noted(tmp_path):
    source = changed(clip().save(tmp_path / "take.wav", c2pa=True))
    found = verify(clip(EDITED).save(tmp_path / "edit.wav", c2pa=C2paOptions(source=source)))
    assert found.valid
    assert found.ingredients[0].valid is False
    assert found.verdict.endswith("The manifest of its source changed.wav was not valid.")


@pytest.mark.parametrize("suffix", [*EMBEDDING, "ogg", "aiff"])
def test_sources_without_a_manifest(tmp_path, suffix):
    source = tmp_path / f"take.{suffix}"
    if suffix == "aiff":
        import soundfile

        soundfile.write(source, clip().audio.T, 44100)
    else:
        clip({}).save(source)
    found = verify(clip(EDITED).save(tmp_path / "edit.wav", c2pa=C2paOptions(source=source)))
    assert [(one.title, one.valid) for one in found.ingredients] == [(source.name, None)]


def test_a_damaged_manifest_of_the_source_is_left_out_with_a_warning(tmp_path, caplog):
    source = clip({}).save(tmp_path / "take.wav")
    data = source.read_bytes() + b"C2PA" + struct.pack("<I", 40) + b"x" * 40
    source.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    assert not verify(source).valid
    with caplog.at_level(logging.WARNING):
        path = clip(EDITED).save(tmp_path / "edit.wav", c2pa=C2paOptions(source=source))
    assert "the C2PA manifest of" in caplog.text
    assert [(one.title, one.valid) for one in verify(path).ingredients] == [("take.wav", None)]


def test_edits_in_memory_name_their_source(tmp_path):
    found = verify(clip(EDITED).save(tmp_path / "edit.wav", c2pa=True))
    assert [(one.title, one.valid) for one in found.ingredients] == [("take.wav", None)]


def test_what_happened_to_a_loaded_clip_is_unknown(tmp_path):
    loaded = Clip.load(clip().save(tmp_path / "a.wav", c2pa=True))
    found = verify(loaded.save(tmp_path / "b.flac", c2pa=True))
    assert found.actions == ("c2pa.opened", "c2pa.unknown")
    assert found.ingredients[0].title == "a.wav"
    long = StreamedClip.open(tmp_path / "a.wav")
    trimmed = long.cut(0, 2000).save(
        tmp_path / "c.wav", c2pa=C2paOptions(source=tmp_path / "a.wav", action="c2pa.trimmed")
    )
    assert verify(trimmed).actions == ("c2pa.opened", "c2pa.trimmed")
    assert verify(trimmed).digital_source_type == VOCABULARY + "trainedAlgorithmicMedia"


def test_audio_that_soundloom_did_not_make_is_not_signed(tmp_path):
    with pytest.raises(RequestError, match="soundloom did not generate or edit this clip"):
        clip({}).save(tmp_path / "a.wav", c2pa=True)
    assert not (tmp_path / "a.wav").exists()


def test_file_objects(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(clip().to_bytes("flac", c2pa=True))
    assert verify(path).valid
    with pytest.raises(RequestError, match="manifest of an OGG file is a file beside it"):
        clip().to_bytes("ogg", c2pa=True)


def test_the_file_beside_an_ogg_file_is_replaced_only_where_that_is_allowed(tmp_path):
    (tmp_path / "a.c2pa").write_text("of another program")
    with pytest.raises(Exception, match=r"a\.c2pa already exists"):
        clip().save(tmp_path / "a.ogg", c2pa=True, overwrite=False)
    assert not (tmp_path / "a.ogg").exists()
    clip().save(tmp_path / "a.ogg", c2pa=True)
    assert verify(tmp_path / "a.ogg").valid


@pytest.mark.parametrize("record", [GENERATED | {"model": "\N{BELL}" * 5000}, GENERATED | {"mode": "trim"}])
def test_odd_records(tmp_path, record):
    assert verify(clip(record).save(tmp_path / "ünï 鐘.wav", c2pa=True)).valid


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cert": 5}, "cert must be the path of a file, found 5"),
        ({"source": ["a.wav"]}, "source must be the path of a file"),
        ({"action": "trimmed"}, "an action has a name such as c2pa.trimmed, found trimmed"),
        ({"action": ""}, "an action has a name"),
        ({"action": 3}, "an action has a name"),
    ],
)
def test_nonsensical_options_are_rejected(fields, message):
    with pytest.raises(RequestError, match=message):
        C2paOptions(**fields)


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"the source .*nothing\.wav is not a file"):
        clip(EDITED).save(tmp_path / "a.wav", c2pa=C2paOptions(source=tmp_path / "nothing.wav"))
    assert not (tmp_path / "a.wav").exists()


def test_c2pa_must_be_options(tmp_path):
    with pytest.raises(RequestError, match="c2pa must be True, False or C2paOptions, found yes"):
        clip().save(tmp_path / "a.wav", c2pa="yes")
