"""Damage files, records, and tables, reproducibly from a seed."""

from __future__ import annotations

import copy
import json
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from soundloom.errors import SoundloomError

SEED = int(os.environ.get("SOUNDLOOM_ROBUSTNESS_SEED", "0"))
COUNT = int(os.environ.get("SOUNDLOOM_ROBUSTNESS_COUNT", "0"))  # of inputs; 0 for each test's own number
MAX_MESSAGE = 500

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**19, -(10**30), 10**200, 0.0, -0.0, 1e-300, 1e300, -1e300, 0.5,
    1.5, "", "x", "1", "nan", "\x1b[31m", "a\nerror: b", "é鐘", "x" * 5000, [], [1], [[]], ["x"], [1, 2, 3], [None], {},
    {"a": 1}, {"": None}, [[1, 2], [2, 3]], [[[[[[1]]]]]], "../../etc/passwd", "/etc/passwd", "mini", "../x",
)  # fmt: skip


def count(usual: int) -> int:
    """Return the number of inputs of a test."""
    return COUNT or usual


def generator(name: str, number: int) -> np.random.Generator:
    """Return the random generator of an input of a test."""
    return np.random.default_rng([SEED, number, *name.encode()])


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return damaged bytes of a file."""
    kinds: tuple[Callable[[bytearray, np.random.Generator], bytes], ...] = (
        _flip, _flip_header, _cut, _zeros, _insert, _repeat, _number, _number, _swap, _end,
    )  # fmt: skip
    for _ in range(int(rng.integers(1, 3))):
        data = kinds[int(rng.integers(len(kinds)))](bytearray(data), rng)
    return data


def _place(data: bytearray, rng: np.random.Generator, most: int | None = None) -> int:
    return int(rng.integers(max(1, min(len(data), most or len(data)))))


def _flip(data: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.integers(1, 20))):
        if data:
            data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _flip_header(data: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.integers(1, 4))):
        if data:
            data[_place(data, rng, 128)] = int(rng.integers(256))
    return bytes(data)


def _cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: _place(data, rng)])


def _end(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data) + rng.bytes(int(rng.integers(1, 500)))


def _zeros(data: bytearray, rng: np.random.Generator) -> bytes:
    start = _place(data, rng)
    length = min(int(rng.integers(1, 200)), len(data) - start)
    data[start : start + length] = bytes([int(rng.choice([0, 255]))]) * length
    return bytes(data)


def _insert(data: bytearray, rng: np.random.Generator) -> bytes:
    start = _place(data, rng)
    return bytes(data[:start]) + rng.bytes(int(rng.integers(1, 64))) + bytes(data[start:])


def _repeat(data: bytearray, rng: np.random.Generator) -> bytes:
    start = _place(data, rng)
    part = bytes(data[start : start + int(rng.integers(1, 300))])
    return bytes(data[:start]) + part * int(rng.integers(2, 50)) + bytes(data[start:])


def _number(data: bytearray, rng: np.random.Generator) -> bytes:
    """Set a 2-, 4-, or 8-byte number in the header to 0 or an extreme value."""
    if len(data) < 16:
        return bytes(data)
    form = str(rng.choice(["<I", ">I", "<H", ">H", "<Q", ">Q"]))
    size = struct.calcsize(form)
    top = 2 ** (8 * size)
    value = int(rng.choice([0, 1, 2, 3, 1000, 40000, 2**15])) if rng.random() < 0.5 else top - int(rng.integers(1, 99))
    start = min(_place(data, rng, 160), len(data) - size)
    data[start : start + size] = struct.pack(form, value)
    return bytes(data)


def _swap(data: bytearray, rng: np.random.Generator) -> bytes:
    a, b = _place(data, rng), _place(data, rng)
    data[a : a + 16], data[b : b + 16] = data[b : b + 16], data[a : a + 16]
    return bytes(data)


def changed(tree: Any, rng: np.random.Generator) -> Any:
    """Return a copy of plain data with values replaced, removed, renamed, or nested."""
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(tree))
        if not places:
            return tree
        holder, key = places[int(rng.integers(len(places)))]
        action = rng.random()
        if action < 0.7:
            holder[key] = copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
        elif action < 0.8:
            del holder[key]
        elif action < 0.9 and isinstance(holder, dict):
            holder[f"{key}{chr(int(rng.integers(32, 500)))}"] = holder.pop(key)
        else:
            holder[key] = nested(holder[key], int(rng.choice([1, 5, 60])))
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in items:
        yield tree, key
        yield from _places(value)


def nested(value: Any, depth: int) -> Any:
    """Return the value nested in `depth` lists."""
    for _ in range(depth):
        value = [value]
    return value


def odd_json(tree: Any, rng: np.random.Generator) -> bytes:
    """Return JSON of a changed tree, sometimes with huge numbers, deep nesting, or lone surrogates."""
    text = json.dumps(changed(tree, rng))
    extras = (
        "1e400", "-1e999", "NaN", "Infinity", "9" * 5000, "[" * 500 + "]" * 500, "[" * 100_000, '{"a":' * 2000 + "1",
        '"\\ud800"', '"\\udcff\\ud800"', '"\\u0000"', "0x10", "'a'", '"' + "y" * 100_000 + '"',
    )  # fmt: skip
    if rng.random() < 0.4:
        places = [place for place, character in enumerate(text) if character in ":["]
        place = places[int(rng.integers(len(places)))] + 1 if places else 0
        text = f"{text[:place]}{extras[int(rng.integers(len(extras)))]},{text[place:]}"
        if rng.random() < 0.7:  # whole again: the value in the place of the one that stood there
            text = json.dumps(tree)
            place = text.find(":", int(rng.integers(len(text) - 1)))
            end = min([end for end in (text.find(",", place), text.find("}", place)) if end > 0] or [len(text)])
            text = f"{text[: place + 1]} {extras[int(rng.integers(len(extras)))]}{text[end:]}"
    data = text.encode("utf-8", "surrogatepass")
    return damaged(data, rng) if rng.random() < 0.15 else data


def refusal(work: Callable[[], Any]) -> str | None:
    """Return the error message of a call, or None if it succeeds. Raises AssertionError for other outcomes."""
    try:
        work()
    except SoundloomError as error:
        message = error.args[0]
        assert message, f"an empty {type(error).__name__}"
        assert len(message) <= MAX_MESSAGE, f"{len(message)} characters: {message[:200]}"
        assert message.isprintable(), repr(message)
        return str(message)
    return None
