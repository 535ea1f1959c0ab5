"""Damage files as a bad disk, a broken download, or an attacker would, reproducibly from a seed.

Each mutator takes bytes and a `random.Random` and returns other bytes. Tests take their seed from the environment
variable SOUNDLOOM_FUZZ_SEED (0 if unset) and their number of inputs, times SOUNDLOOM_FUZZ_SCALE (1 if unset), so that
other seeds and longer runs need no other code:

    SOUNDLOOM_FUZZ_SEED=7 SOUNDLOOM_FUZZ_SCALE=10 python -m pytest tests/robustness
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

from soundloom.errors import SoundloomError

Mutator = Callable[[bytes, random.Random], bytes]
SEED = int(os.environ.get("SOUNDLOOM_FUZZ_SEED", "0"))
SCALE = float(os.environ.get("SOUNDLOOM_FUZZ_SCALE", "1"))
MAX_MESSAGE = 500  # characters
MAX_TIME = 10  # seconds

FORGED = "x\nerror: forged\x1b[31m"
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    127,
    255,
    256,
    4095,
    65535,
    65536,
    10**6,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
)
VALUES = (
    *NUMBERS,
    *(10**19, 10**400, -(2**63), 0.0, -0.5, 0.5, 1.5, 1e308, -1e308, 1e-308),
    *(
        None,
        True,
        False,
        "",
        "a",
        "F32",
        "U32",
        "F64",
        "BOOL",
        FORGED,
        "\x00",
        "\ud800",
        "../../etc/passwd",
        "x" * 100_000,
    ),
    *([], {}, [[]], [0], [1, 2], [0, 0], [2**62, 2**62], [-1], [1] * 1000, {"a": 1}, [None], ["a"], {"type": {}}),
)


def inputs(count: int, name: str) -> Iterator[random.Random]:
    """Yield a random generator for each input of a test."""
    for number in range(max(1, round(count * SCALE))):
        yield random.Random(f"{SEED} {name} {number}")


class Outcomes:
    """Outcomes of the inputs of a test; `check` fails unless each is accepted or rejected with a message."""

    def __init__(self, base: str = "") -> None:
        self.counts: Counter[str] = Counter()
        self._base = base  # a path that messages may quote beyond their length

    def check(self, read: Callable[[], object], what: str) -> object:
        """Return what `read` returns, or None where it refuses the input as it should."""
        started = time.monotonic()
        try:
            result = read()
        except SoundloomError as error:
            self.check_message(str(error), what)
            result = None
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__} {str(error)[:300]}") from error
        seconds = time.monotonic() - started
        assert seconds < MAX_TIME, f"{what} took {seconds:.1f} s"
        self.counts["refused" if result is None else "read"] += 1
        return result

    def check_message(self, message: str, what: str) -> None:
        sentence, _, hint = message.partition("\nhint: ")
        assert sentence.strip(), f"{what}: an empty message"
        assert sentence.isprintable() and hint.isprintable(), f"{what}: {message[:300]!r}"
        length = len(message.replace(self._base, "")) if self._base else len(message)
        assert length < MAX_MESSAGE, f"{what}: {length} characters: {message[:700]!r}"


# Bytes


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def splice(data: bytes, rng: random.Random) -> bytes:
    """Delete, repeat, move, or overwrite a slice."""
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 2, 4, 8, 64, 1024))]
    place = rng.randrange(len(data) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return data[:start] + data[start + len(piece) :]
    if kind == 1:
        return data[:place] + piece * rng.choice((1, 2, 100)) + data[place:]
    if kind == 2:
        return data[:place] + piece + data[place + len(piece) :]
    return data[:place] + rng.randbytes(rng.choice((1, 4, 16))) + data[place:]


def set_integer(data: bytes, rng: random.Random) -> bytes:
    """Overwrite 1 to 8 bytes with an extreme integer."""
    width = rng.choice((1, 2, 4, 8))
    if len(data) < width:
        return data
    place = rng.randrange(len(data) - width + 1)
    number = rng.choice(NUMBERS) % (1 << (8 * width))
    return data[:place] + number.to_bytes(width, "little") + data[place + width :]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice((flip_bits, truncate, splice, set_integer))(data, rng)
    return data


# JSON


def mutate_value(value: object, rng: random.Random) -> object:
    """Change a decoded JSON value in one place."""
    places = [(container, key) for container, key in _places(value)]
    if not places or rng.random() < 0.03:
        return rng.choice(VALUES)
    container, key = rng.choice(places)
    kind = rng.randrange(10)
    if kind < 4:
        container[key] = rng.choice(VALUES)
    elif kind < 7:
        container[key] = _vary(container[key], rng)
    elif kind == 7:
        del container[key]
    elif kind == 8 and isinstance(container, dict):
        container[rng.choice((FORGED, "x" * 100_000, "", f"{key}s", str(key)[:-1], "\ud800"))] = container.pop(key)
    else:
        other, other_key = rng.choice(places)
        container[key], other[other_key] = other[other_key], container[key]
        if any(container[key] is each for each, _ in _places(container[key])):
            container[key] = None
    return value


def _places(value: object) -> list[tuple[object, object]]:
    found: list[tuple[object, object]] = []
    waiting = [value]
    while waiting:
        container = waiting.pop()
        keys = (
            list(container)
            if isinstance(container, dict)
            else range(len(container))
            if isinstance(container, list)
            else ()
        )
        for key in keys:
            found.append((container, key))
            waiting.append(container[key])
        if len(found) > 20_000:
            break
    return found


def _vary(value: object, rng: random.Random) -> object:
    """Return another value of the same type, which passes type checks."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, 2 * value, value // 2, -value, value * 10**6, *NUMBERS))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e6, value * 1e-6, 1e300, 0.0, 1e-30))
    if isinstance(value, list):
        return rng.choice((value[1:], value * 2, value[::-1], value * 100))
    return value[: len(value) // 2] if isinstance(value, str) else value


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Change the structure of JSON text, or make it invalid."""
    text = data.decode()
    kind = rng.randrange(12)
    if kind == 0:
        return mutate_bytes(data, rng)
    if kind == 1:
        return _raw_json(text, rng).encode("utf-8", "surrogatepass")
    value = json.loads(text)
    try:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            value = mutate_value(value, rng)
        return json.dumps(value).encode()
    except (ValueError, RecursionError):  # a swap made a value contain itself
        return b"{}"


def _raw_json(text: str, rng: random.Random) -> str:
    """Replace a value with text that Python's decoder cannot handle."""
    depth = rng.choice((70, 1000, 100_000))
    raw = rng.choice(
        (
            *("NaN", "-Infinity", "1e400", "1" * 5000, "-" + "9" * 4301, '"\\ud800"', '"unending', "[" * depth),
            *(
                "[" * depth + "]" * depth,
                '{"a":' * depth + "1" + "}" * depth,
                "[[],[]]" * depth,
                '{"a":1,"a":2}',
                "\x00",
            ),
        )
    )
    starts = [place for place, letter in enumerate(text) if letter == ":"]
    if not starts or rng.random() < 0.1:
        return raw
    place = rng.choice(starts) + 1
    end = min((found for found in (text.find(mark, place) for mark in ",}]") if found >= 0), default=place)
    return text[:place] + raw + text[end:]
