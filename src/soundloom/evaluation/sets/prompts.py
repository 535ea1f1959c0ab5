"""Lists of prompts to generate from: what, how long, and with which seeds.

A text file has one prompt a line. A CSV, TSV or JSON Lines file has the column `prompt` or `caption`, and optionally
`id`, `seconds` and `seed`. The captions of a set of sounds are prompts too.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from soundloom.atomic import atomic_file
from soundloom.errors import CorruptFileError, RequestError, printable, shown
from soundloom.evaluation.sets.manifest import SET_FILE, SoundSet, hash_rows, read_set, require_distinct
from soundloom.evaluation.sets.tables import MAX_SEED, Row, is_table, read_rows, read_table_text

PROMPTS_FILE = "prompts.jsonl"
SOURCES = "name a text file with one prompt a line, or a CSV or JSONL file with a column prompt"
_ID_DIGITS = 12  # of the SHA-256 of a prompt
_SEED_BITS = 31  # every engine takes such seeds


@dataclass(frozen=True)
class Prompt:
    """A prompt. `seconds` None is the length that the caller chooses; `seed` None is derived from `id`."""

    id: str
    text: str
    seconds: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise CorruptFileError(f"the prompt {shown(self.id)} asks for {self.seconds:g} seconds")

    def seeds(self, count: int) -> tuple[int, ...]:
        """Return `count` seeds, the same whatever other prompts are in the list."""
        first = self.seed
        if first is None:
            first = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8]) >> (64 - _SEED_BITS)
        return tuple((first + index) % (MAX_SEED + 1) for index in range(count))


@dataclass(frozen=True)
class PromptList:
    """Prompts with distinct ids, each to be generated with `count` seeds."""

    name: str
    prompts: tuple[Prompt, ...]
    count: int = 1

    def __post_init__(self) -> None:
        if not self.prompts:
            raise RequestError(f"{shown(self.name)} has no prompts", SOURCES)
        if self.count < 1:
            raise RequestError(f"there must be 1 seed or more for each prompt, found {self.count}")
        require_distinct([prompt.id for prompt in self.prompts], f"the list of prompts {shown(self.name)}")

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the sorted list of (id, prompt, seconds, seeds)."""
        rows = [(one.id, one.text, one.seconds, one.seeds(self.count)) for one in self.prompts]
        return hash_rows(sorted(rows, key=lambda row: row[0]))

    def requests(self) -> Iterator[Prompt]:
        """Yield each prompt with each of its seeds."""
        for prompt in self.prompts:
            for seed in prompt.seeds(self.count):
                yield replace(prompt, seed=seed)


def read_prompts(source: str | Path, seeds: int = 1) -> PromptList:
    """Read a list of prompts, or the captions of a set. Raises RequestError or CorruptFileError."""
    path = Path(source).expanduser()
    if path.is_dir() and (path / PROMPTS_FILE).is_file():
        path /= PROMPTS_FILE
    if path.is_dir() or path.name == SET_FILE:
        return prompts_of(read_set(path), seeds)
    if not path.is_file():
        raise RequestError(f"there is no {printable(path)}", SOURCES)
    if is_table(path):
        found = [_of_row(row) for row in read_rows(path)]
    else:
        found = [Prompt("", line.strip()) for line in read_table_text(path).splitlines() if line.strip()]
    return PromptList(path.stem, tuple(_with_ids(found)), seeds)


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write prompts as JSON Lines. Raises WriteError."""
    with atomic_file(path) as file:
        for one in prompts:
            record = {"id": one.id, "prompt": one.text, "seconds": one.seconds, "seed": one.seed}
            line = {key: value for key, value in record.items() if value is not None}
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def prompts_of(sounds: SoundSet, seeds: int = 1) -> PromptList:
    """Return the captions of a set as prompts, with the lengths of its cuts. Raises RequestError without captions."""
    prompts = [
        Prompt(
            item.id, item.caption, item.seconds or (round(item.end - item.start, 6) if item.end else None), item.seed
        )
        for item in sounds.items
        if item.caption
    ]
    return PromptList(sounds.name, tuple(prompts), seeds)


def _of_row(row: Row) -> Prompt:
    return Prompt(row.text("id"), row.need("prompt", "caption", "text"), row.number("seconds"), row.integer("seed"))


def _with_ids(prompts: Iterable[Prompt]) -> Iterator[Prompt]:
    """Give prompts without an id one that depends on their text alone, and a number if they are repeated."""
    seen: Counter[str] = Counter()
    for prompt in prompts:
        if prompt.id:
            yield prompt
            continue
        name = hashlib.sha256(prompt.text.encode()).hexdigest()[:_ID_DIGITS]
        seen[name] += 1
        yield replace(prompt, id=name if seen[name] == 1 else f"{name}-{seen[name]}")
