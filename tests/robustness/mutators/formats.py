"""Damage weight files: safetensors, npy, npz and other zip files, and pickles."""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise

from tests.robustness.mutators.base import FORGED, NUMBERS, mutate_bytes, mutate_json

# safetensors


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + size], data[8 + size :]
    kind = rng.randrange(10)
    if kind == 0:
        return mutate_bytes(data, rng)
    if kind == 1:
        return (rng.choice(NUMBERS) % 2**64).to_bytes(8, "little") + data[8:]
    if kind == 2:
        return data[: rng.randrange(8 + size)]
    if kind == 3:
        header = _same_sizes(header, rng)
    else:
        header = mutate_json(header, rng)
    return len(header).to_bytes(8, "little") + header + rest


def _same_sizes(header: bytes, rng: random.Random) -> bytes:
    """Change dtype or shape of some tensors without changing their size in bytes."""
    tensors = json.loads(header)
    for name in rng.sample(sorted(tensors), min(len(tensors), rng.choice((1, 2, 20)))):
        entry = tensors[name]
        if "dtype" not in entry:
            continue
        alike = next(
            (
                group
                for group in (
                    ("F32", "I32", "U32"),
                    ("F64", "I64", "U64"),
                    ("F16", "BF16", "I16", "U16"),
                    ("I8", "U8", "BOOL"),
                )
                if entry["dtype"] in group
            ),
            (entry["dtype"],),
        )
        entry["dtype"] = rng.choice(alike)
        count = 1
        for axis in entry["shape"]:
            count *= axis
        entry["shape"] = rng.choice((entry["shape"], entry["shape"][::-1], [count], [1, *entry["shape"]], [count, 1]))
        if rng.random() < 0.2:
            tensors[rng.choice((FORGED, f"{name}.scales", f"{name}x", "layers.999999999.w"))] = tensors.pop(name)
    return json.dumps(tensors).encode()


# zip, npy, npz

_NPY_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (10**9,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999999, 2), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': 3, }",
    "{'descr': '<f4', 'fortran_order': 0, 'shape': (), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '>f4', 'fortran_order': True, 'shape': (1,), }",
    "{'descr': '<M8[ns]', 'fortran_order': True, 'shape': (1,), }",
    "{'descr': [('a', '<f4'), ('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': 'x\n\x1b[31m', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f4', 'fortran_order': False}",
    "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
    "(" * 5000,
    "{" * 60,
    "'''",
    "[" + "1," * 4000 + "]",
    "\\\n" * 50,
    "lambda: 0",
    "",
)


def mutate_npy(data: bytes, rng: random.Random) -> bytes:
    """Change the header of an npy file of version 1."""
    kind = rng.randrange(5)
    if kind == 0 or len(data) < 10:
        return mutate_bytes(data, rng)
    size = int.from_bytes(data[8:10], "little")
    header, rest = data[10 : 10 + size], data[10 + size :]
    if kind == 1:
        return data[:6] + rng.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x07", b"\x00\x00")) + data[8:]
    if kind == 2:
        return data[:8] + (rng.choice(NUMBERS) % 65536).to_bytes(2, "little") + data[10:]
    if kind == 3:
        header = mutate_bytes(header, rng)[:60_000]
    else:
        chosen = rng.choice(_NPY_HEADERS)
        header = (chosen % rng.choice(NUMBERS) if "%d" in chosen else chosen).encode("latin-1") + b"\n"
    return data[:8] + len(header).to_bytes(2, "little") + header + rest


_FIELDS = {  # offsets of numbers in the records of a zip file, with their widths
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        (4, 2),
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (42, 4),
    ),
    b"PK\x05\x06": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}


def mutate_zip(data: bytes, rng: random.Random) -> bytes:
    """Change a number in a record of a zip file, or any bytes."""
    magic = rng.choice(tuple(_FIELDS))
    places = []
    place = data.find(magic)
    while place >= 0 and len(places) < 500:
        places.append(place)
        place = data.find(magic, place + 1)
    if not places or rng.random() < 0.15:
        return mutate_bytes(data, rng)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        offset, width = rng.choice(_FIELDS[magic])
        start = rng.choice(places) + offset
        number = rng.choice((*NUMBERS, 8, 9, 12, 14, 93, 63, 45, len(data), rng.randrange(len(data))))
        changed[start : start + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


def rewrite_zip(data: bytes, change: Callable[[str, bytes], bytes], rng: random.Random) -> bytes:
    """Rewrite a zip file with changed members and correct checksums, sometimes deflated or renamed."""
    result = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    odd = rng.random() < 0.1
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(result, "w", method) as new,
    ):
        warnings.simplefilter("ignore", UserWarning)  # of names that appear twice
        for name in old.namelist():
            renamed = (
                rng.choice((f"{FORGED}.npy", "../../x.npy", "a" * 3000, "é.npy"))
                if odd and rng.random() < 0.1
                else name
            )
            new.writestr(renamed, change(name, old.read(name)))
    return result.getvalue()


def mutate_npz(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return mutate_zip(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        chosen = set(rng.sample(archive.namelist(), min(len(archive.namelist()), rng.choice((1, 1, 3)))))
    return rewrite_zip(data, lambda name, part: mutate_npy(part, rng) if name in chosen else part, rng)


def bomb(size: int, member: str = "a.npy", start: bytes = b"") -> bytes:
    """Return a zip file with one deflated member: `start`, then zeros. Its checksum is wrong."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)  # may be repeated after a full flush
    body, total = begin + zeros * (size >> 20) + packer.flush(), len(start) + (size >> 20 << 20)
    name = member.encode()
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(body), total, len(name), 0)
    local = b"PK\x03\x04" + fields + name + body
    central = b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


# Pickles

_SNIPPETS = (
    *(
        b"b",
        b"a",
        b"s",
        b"u",
        b"e",
        b"R",
        b"\x81",
        b"(",
        b"0",
        b"1",
        b"2",
        b".",
        b"]",
        b"}",
        b")",
        b"\x85",
        b"\x86",
        b"\x87",
    ),
    *(b"}b", b"]a", b"(]]e", b"N", b"\x88", b"K\x00", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x7f"),
    *(b"G\x7f\xf8\x00\x00\x00\x00\x00\x00", b"G\x7f\xf0\x00\x00\x00\x00\x00\x00", b"\x8a\xff" + b"\x7f" * 255),
    *(b"cbuiltins\nexec\n", b"cos\nsystem\n", b"cbuiltins\ngetattr\n", b"ctorch._utils\n_rebuild_tensor_v2\n"),
    *(
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nSize\n",
        b"r\xff\xff\xff\x7f",
        b"j\xff\xff\xff\x7f",
    ),
    *(
        b"X\x08\x00\x00\x00__dict__",
        b"X\x0c\x00\x00\x00__defaults__",
        b"X\x05\x00\x00\x00shape",
        b"Q",
        b"h\x00",
        b"h\x05",
    ),
    *(b"X\xff\xff\xff\x7f", b"B\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8, b"\x93", b"\x94", b"\x95" + b"\xff" * 8),
    *(
        b"]" * 5000,
        b"(" * 5000,
        b"]" + b"q\x00(" + b"h\x00" * 50 + b"e",
        b"\x85" * 5000,
        b"P0\n",
        b"i__main__\nx\n",
        b"\x82\x01",
    ),
)


def mutate_pickle(data: bytes, rng: random.Random) -> bytes:
    """Change the opcodes of a pickle."""
    if rng.random() < 0.2:
        return mutate_bytes(data, rng)
    places = [*(place for _, _, place in pickletools.genops(data)), len(data)]
    parts = [data[start:end] for start, end in pairwise(places)]
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(parts))
        kind = rng.randrange(6)
        if kind == 0:
            parts[at] = rng.choice(_SNIPPETS)
        elif kind == 1:
            parts.insert(at, rng.choice(_SNIPPETS))
        elif kind == 2 and len(parts) > 1:
            del parts[at]
        elif kind == 3:
            parts.insert(at, rng.choice(parts))
        elif kind == 4:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        else:
            numbers = [place for place, part in enumerate(parts) if part[:1] in (b"K", b"M", b"J", b"\x8a")]
            if numbers:
                number = rng.choice((*NUMBERS, -1, -2, rng.randrange(100)))
                size = number.bit_length() // 8 + 1
                parts[rng.choice(numbers)] = b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)
    return b"".join(parts)


def mutate_saved(data: bytes, rng: random.Random) -> bytes:
    """Change a file of `torch.save`: usually its pickle, sometimes the archive."""
    if rng.random() < 0.25:
        return mutate_zip(data, rng)
    return rewrite_zip(data, lambda name, part: mutate_pickle(part, rng) if name.endswith("data.pkl") else part, rng)
