"""What a caller may ask of MusicGen and Instruct-MusicGen: frozen, checked on construction, ignorant of engines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from soundloom.config.musicgen.sampling import Sampling
from soundloom.config.stable_audio.request import SEED_LIMIT, fields_of_record, require_seconds, require_text
from soundloom.config.values import coerce
from soundloom.errors import RequestError, shown

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip


@dataclass(frozen=True)
class MusicRequest:
    """One piece to make from words, or one edit of `source` by an instruction.

    Times are in seconds. None means the model's default; a seed of None is drawn and reported. An edit is as long as
    its source and made in windows; `raw` hands the words to the model as they are.
    """

    prompt: str
    seconds: float | None = None
    seed: int | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 0.0
    guidance: float = 3.0
    source: Clip | None = None
    window: float | None = None
    raw: bool = False

    def __post_init__(self) -> None:
        require_text("a prompt", self.prompt)
        if not isinstance(self.raw, bool):
            raise RequestError(f"raw must be true or false, found {shown(self.raw)}")
        coerce(self, ("seed", "top_k"), ("seconds", "window", "temperature", "top_p", "guidance"))
        for name in ("seconds", "window"):
            require_seconds(name, getattr(self, name))
        if self.seed is not None and not 0 <= self.seed < SEED_LIMIT:
            raise RequestError(f"a seed must be between 0 and {SEED_LIMIT - 1}, found {shown(self.seed)}")
        if not math.isfinite(self.guidance):
            raise RequestError(f"guidance must be a number, found {self.guidance}")
        if self.source is not None and not self.source.samples:
            raise RequestError("the sound to edit has no samples")
        self.sampling(0)

    def sampling(self, default_top_k: int) -> Sampling:
        """How tokens are drawn. Raises RequestError."""
        top_k = default_top_k if self.top_k is None else self.top_k
        return Sampling(self.temperature, top_k, self.top_p)

    def to_record(self, **resolved: Any) -> dict[str, Any]:
        """The request as values that JSON can hold, with `resolved` in the place of defaults; the source left out."""
        names = ("prompt", "seconds", "seed", "temperature", "top_k", "top_p", "guidance", "window", "raw")
        values = {name: getattr(self, name) for name in names} | resolved
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], **changes: Any) -> MusicRequest:
        """Undo `to_record`; `changes` win over it. Raises RequestError for a record that is not one."""
        return cls(**{"prompt": "", **fields_of_record(cls, record), **changes})
