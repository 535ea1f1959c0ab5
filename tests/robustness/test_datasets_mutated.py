"""A damaged or hostile example or shard of a dataset is skipped with one message."""

import bz2
import gzip
import io
import json
import os
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.datasets.encoding import encode_dataset
from soundloom.datasets.examples import Selection, read_examples
from soundloom.datasets.fidelity import Codec
from soundloom.datasets.latents import LatentFolderWriter, npy_bytes, parse_latents
from soundloom.datasets.opening import open_dataset
from soundloom.datasets.webdataset import ShardWriter
from soundloom.errors import CorruptFileError, SoundloomError
from tests.robustness.mutators.media import ODD_VALUES, count, damaged, generator, odd_json

METADATA = {
    "prompt": "a kick",
    "captions": ["a kick", "a drum"],
    "bpm": 120,
    "tags": ["loud", "low"],
    "seconds": 0.5,
    "seconds_total": 1,
    "timestamps": [0.0, 0.5],
    "padding_mask": [1, 1, 1, 0],
    "relpath": "a.wav",
}
CODEC = Codec(lambda clip: np.ones((4, 3), np.float32), 44100, 2048, "f" * 16)


def wav(rate=44100, samples=2000):
    file = io.BytesIO()
    soundfile.write(file, 0.5 * np.sin(np.arange(samples) / 9), rate, format="WAV")
    return file.getvalue()


def npy(frames=4):
    return npy_bytes(np.ones((4, frames), np.float32))


def tar_bytes(files, form=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def read(path):
    """Return the names of examples that were read, and those that were skipped."""
    skipped = []
    items = [item.origin for item in read_examples(open_dataset(path), None, skipped.append)]
    for one in skipped:
        assert 0 < len(one.reason) <= 500, one
        assert one.reason.isprintable(), repr(one.reason)
        json.dumps(one.origin, ensure_ascii=False).encode()
    return items, {one.origin: one.reason for one in skipped}


def write_folder(folder, bad, content):
    for name in ("a", "z"):
        (folder / f"{name}.wav").write_bytes(wav())
        (folder / f"{name}.json").write_text(json.dumps(METADATA))
    for ending, data in {".wav": wav(), **content}.items():
        (folder / f"{bad}{ending}").write_bytes(data)


def damaged_sidecars(name, number, folder):
    rng = generator(name, number)
    caption = damaged("a kick\nein Schlag, 鼓\n".encode(), rng)
    write_folder(folder, "m", {".json": odd_json(METADATA, rng), ".txt": caption})
    items, skipped = read(folder)
    assert set(items) | set(skipped) == {"a.wav", "m.wav", "z.wav"}
    assert set(skipped) <= {"m.wav"}
    out = folder.with_name(f"{folder.name}-out")
    writer = LatentFolderWriter(out) if number % 2 else ShardWriter(out)
    summary = encode_dataset(open_dataset(folder), writer, CODEC, Selection())
    assert summary.stored + len(summary.skipped) == 3


@pytest.mark.parametrize("number", range(count(150)))
def test_damaged_captions_and_tables_skip_only_their_file(number, tmp_path):
    (tmp_path / "in").mkdir()
    damaged_sidecars("captions", number, tmp_path / "in")


@pytest.mark.slow
def test_thousands_of_damaged_captions_and_tables(tmp_path):
    for number in range(count(2000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged_sidecars("slow captions", number, folder)


def damaged_shard(name, number, folder):
    """Read a damaged tar file between two intact ones, in several formats, some compressed."""
    rng = generator(name, number)
    form = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)[int(rng.integers(3))]
    long = "n" * (120 if form != tarfile.USTAR_FORMAT else 9)
    members = [("1.wav", wav()), ("1.json", json.dumps(METADATA).encode()), (f"{long}é.wav", wav()), ("2.npy", npy())]
    data = tar_bytes(members, form)
    pack = (lambda data: data, lambda data: data, gzip.compress, bz2.compress)[int(rng.integers(4))]
    data = damaged(pack(data), rng) if rng.random() < 0.5 else pack(damaged(data, rng))
    (folder / "a.tar").write_bytes(tar_bytes(members))
    (folder / "m.tar").write_bytes(data)
    (folder / "z.tar").write_bytes(tar_bytes(members))
    items, skipped = read(folder)
    for good in ("a", "z"):
        assert f"{good}/1" in items
    assert all(origin.startswith("m") or origin.endswith("/2") for origin in skipped), skipped


@pytest.mark.parametrize("number", range(count(150)))
def test_only_damaged_shards_are_skipped(number, tmp_path):
    damaged_shard("shards", number, tmp_path)


@pytest.mark.slow
def test_thousands_of_damaged_shards(tmp_path):
    for number in range(count(3000)):
        damaged_shard("slow shards", number, tmp_path)


def damaged_latents(name, number, folder):
    rng = generator(name, number)
    good = {"seconds_total": 1}
    for stem, data, table in (("a", npy(), good), ("z", npy(), good)):
        (folder / f"{stem}.npy").write_bytes(data)
        (folder / f"{stem}.json").write_text(json.dumps(table))
    is_table = rng.random() < 0.5
    (folder / "m.npy").write_bytes(npy() if is_table else damaged(npy(), rng))
    (folder / "m.json").write_bytes(odd_json(METADATA, rng) if is_table else json.dumps(good).encode())
    items, skipped = read(folder)
    assert {"a.npy", "z.npy"} <= set(items)
    assert set(skipped) <= {"m.npy"}


@pytest.mark.parametrize("number", range(count(150)))
def test_only_damaged_latents_are_skipped(number, tmp_path):
    damaged_latents("latents", number, tmp_path)


@pytest.mark.slow
def test_thousands_of_damaged_latents(tmp_path):
    for number in range(count(3000)):
        damaged_latents("slow latents", number, tmp_path)


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: type(value).__name__)
def test_any_value_of_a_padding_mask_or_a_length(tmp_path, value):
    (tmp_path / "a.npy").write_bytes(npy())
    for table in (
        {"seconds": value},
        {"seconds": 1, "padding_mask": value},
        {"seconds": 1, "padding_mask": [value] * 4},
    ):
        (tmp_path / "a.json").write_text(json.dumps(table))
        items, skipped = read(tmp_path)
        assert len(items) + len(skipped) == 1


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 3000 + ")}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (4, 4)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 4)}",
        "(" * 5000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000, 1000000000000000)}",
        "__import__('os').system('true')",
    ],
)
def test_array_headers_are_not_evaluated(header):
    text = header.encode()
    data = b"\x93NUMPY\x02\0" + struct.pack("<I", len(text)) + text + bytes(64)
    with pytest.raises(CorruptFileError, match=r"is not a \.npy array"):
        parse_latents(data, "x.npy")


# Names and links


def test_file_names_that_are_not_unicode_are_stored(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9\x1b.wav")
    (folder / name).write_bytes(wav())
    (folder / os.fsdecode(b"caf\xe9\x1b.txt")).write_text("a café")
    assert read(folder)[0] == ["caf\\xe9\x1b.wav"]
    for writer in (LatentFolderWriter(tmp_path / "npy"), ShardWriter(tmp_path / "tar")):
        assert encode_dataset(open_dataset(folder), writer, CODEC, Selection()).encoded == 1
    again = encode_dataset(open_dataset(folder), LatentFolderWriter(tmp_path / "npy"), CODEC, Selection())
    assert (again.unchanged, again.orphaned) == (1, 0)


def test_shard_names_that_are_not_unicode(tmp_path):
    data = tar_bytes([(os.fsdecode(b"caf\xe9.wav"), wav()), ("b.wav", wav())], tarfile.USTAR_FORMAT)
    (tmp_path / "s.tar").write_bytes(data)
    assert read(tmp_path)[0] == ["s/caf\\xe9", "s/b"]


def test_cyclic_links_are_skipped(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav())
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "one.wav").symlink_to("two.wav")
    (tmp_path / "two.wav").symlink_to("one.wav")
    (tmp_path / "up").symlink_to(tmp_path)
    assert read(tmp_path) == (["a.wav"], {})


@pytest.mark.slow
def test_folders_may_be_deeper_than_the_recursion_limit(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav())
    here, depth = Path.cwd(), 1200
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        assert read(tmp_path)[0] == ["a.wav"]
        for _ in range(depth):  # deeper than shutil removes
            os.chdir("..")
            Path("d").rmdir()
    finally:
        os.chdir(here)


# Bombs


def sparse_header(size, name=b"big.wav"):
    header = bytearray(tarfile.TarInfo(name.decode()).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax_sparse(size):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as out:
        info = tarfile.TarInfo("big.wav")
        info.size = 512
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size)}
        out.addfile(info, io.BytesIO(b"1\n0\n1\n".ljust(512, b"\0")))
    return tar.getvalue()


def pax_of_size(size):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, size
    return header.tobuf(tarfile.GNU_FORMAT) + b"17 path=whatever\n".ljust(512, b"\0")


BOMBS = {
    "sparse": lambda: sparse_header(3 * 2**30) + bytes(1024),
    "pax sparse": lambda: pax_sparse(3 * 2**30),
    "pax header": lambda: pax_of_size(3 * 2**30),
    "long name": lambda: pax_of_size(3 * 2**30).replace(b"x" + bytes(99), b"L" + bytes(99)),
    "compressed zeros": lambda: gzip.compress(bytes(2**26)),
    "compressed member": lambda: gzip.compress(tar_bytes([("a.wav", wav() + bytes(2**26))])),
    "member longer than the file": lambda: tar_bytes([("a.wav", wav())])[:600],
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_decompression_bombs_are_skipped_in_little_memory(tmp_path, bomb):
    (tmp_path / "a.tar").write_bytes(tar_bytes([("1.wav", wav())]))
    (tmp_path / "m.tar").write_bytes(BOMBS[bomb]())
    (tmp_path / "z.tar").write_bytes(tar_bytes([("1.wav", wav())]))
    tracemalloc.start()
    try:
        items, skipped = read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()
    assert items == ["a/1", "z/1"]
    assert len(skipped) == (bomb != "compressed zeros")  # which are an empty tar file


def test_a_damaged_header_is_not_the_end_of_a_shard(tmp_path):
    """tarfile takes it for the end, and would silently skip the rest."""
    data = bytearray(tar_bytes([("1.wav", wav()), ("2.wav", wav()), ("3.wav", wav())], tarfile.USTAR_FORMAT))
    data[data.index(b"3.wav") + 150] ^= 0xFF
    (tmp_path / "s.tar").write_bytes(data)
    items, skipped = read(tmp_path / "s.tar")
    assert items == ["s/1"]
    assert "damaged" in skipped["s"]


def test_an_example_without_length_is_encoded_again(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(wav())
    encode_dataset(open_dataset(folder), LatentFolderWriter(tmp_path / "out"), CODEC, Selection())
    (table,) = (tmp_path / "out").glob("0*.json")
    table.write_text(json.dumps({**json.loads(table.read_text()), "seconds": "x"}))
    again = encode_dataset(open_dataset(folder), LatentFolderWriter(tmp_path / "out"), CODEC, Selection())
    assert again.encoded == 1


def test_errors_of_datasets_are_soundloom_errors(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"")
    for entry in open_dataset(tmp_path / "s.tar").entries():
        with pytest.raises(SoundloomError):
            entry.read()
