"""The texts of a training set as rows of the text encoder, each distinct text encoded once and cached in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import atomic_file
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.errors import SoundloomError

Array = NDArray[np.float32]
Encode = Callable[[Sequence[str]], list[Array]]  # texts to their rows (tokens, d), without padding


@dataclass(frozen=True)
class Prompts:
    """The rows (b, s, d) of a batch's texts; the last row of each stands for `repeats` equal ones."""

    rows: Array
    repeats: int = 1


@dataclass(frozen=True)
class PromptBank:
    """The rows (tokens, d) of texts, and the row (d,) that follows them up to `length` tokens.

    Without a `padding` row, all rows of a text are stored.
    """

    rows: Mapping[str, Array]
    length: int
    padding: Array | None

    def batch(self, texts: Sequence[str]) -> Prompts:
        """Return the rows of a batch: as few as its longest text needs, and one that stands for the rest."""
        found = [self.rows[text] for text in texts]
        if self.padding is None:
            return Prompts(np.stack(found))
        longest = max(map(len, found))
        count = min(longest + 1, self.length)
        batch = np.broadcast_to(self.padding, (len(found), count, len(self.padding))).astype(np.float32)
        for row, rows in zip(batch, found, strict=True):
            row[: len(rows)] = rows
        return Prompts(batch, self.length - count + 1)


def encode_texts(texts: Iterable[str], encode: Encode, path: Path, fingerprint: str) -> dict[str, Array]:
    """Return the rows of texts; those in the file `path` of the same encoder are not encoded again."""
    wanted = list(dict.fromkeys(texts))
    known = _read(path, fingerprint)
    missing = [text for text in wanted if text not in known]
    if missing:
        known |= dict(zip(missing, encode(missing), strict=True))
        _write(path, known, fingerprint)
    return {text: known[text] for text in wanted}


def _write(path: Path, rows: Mapping[str, Array], fingerprint: str) -> None:
    about = json.dumps({"encoder": fingerprint, "texts": list(rows)}).encode()
    starts = np.cumsum([0, *map(len, rows.values())])
    with atomic_file(path) as file:
        np.savez(file, rows=np.concatenate(list(rows.values())), starts=starts, about=np.frombuffer(about, np.uint8))


def _read(path: Path, fingerprint: str) -> dict[str, Array]:
    """Return the rows in a file; nothing where it is missing, damaged or of another encoder."""
    try:
        stored = {name: tensor.numpy() for name, tensor in read_npz(path).items()}
        about = json.loads(stored["about"].tobytes())
        if about["encoder"] != fingerprint:
            return {}
        parts = np.split(np.array(stored["rows"], np.float32), stored["starts"][1:-1])
        return dict(zip(about["texts"], parts, strict=True))
    except (OSError, ValueError, LookupError, TypeError, SoundloomError):
        return {}
