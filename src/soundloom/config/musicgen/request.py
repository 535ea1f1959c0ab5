"""Requests to MusicGen and Instruct-MusicGen, validated on construction and independent of engines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from soundloom.config.musicgen.sampling import Sampling
from soundloom.config.stable_audio.request import SEED_LIMIT, fields_of_record, require_seconds, require_text
from soundloom.config.values import coerce
from soundloom.errors import RequestError, shown
from soundloom.prompts import parse_weights

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip


@dataclass(frozen=True)
class MusicRequest:
    """One piece of music to generate from a prompt, or one edit of `source` by an instruction.

    Times are in seconds. None means the model's default; a seed of None is chosen at random and reported. An edit is
    as long as its source and generated in windows; `raw` passes the instruction to the model unchanged.
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
        _require_no_weights(self.prompt)
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
            raise RequestError("the audio to edit has no samples")
        self.sampling(0)

    @property
    def text(self) -> str:
        r"""The prompt with `\(` as a plain parenthesis."""
        return parse_weights(self.prompt).text

    def sampling(self, default_top_k: int) -> Sampling:
        """Return the sampling options. Raises RequestError."""
        top_k = default_top_k if self.top_k is None else self.top_k
        return Sampling(self.temperature, top_k, self.top_p)

    def to_record(self, **resolved: Any) -> dict[str, Any]:
        """Return the request as JSON values without its source; `resolved` replaces fields."""
        names = ("prompt", "seconds", "seed", "temperature", "top_k", "top_p", "guidance", "window", "raw")
        values = {name: getattr(self, name) for name in names} | resolved
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], **changes: Any) -> MusicRequest:
        """Invert `to_record`; `changes` override fields. Raises RequestError for an invalid record."""
        return cls(**{"prompt": "", **fields_of_record(cls, record), **changes})


def _require_no_weights(prompt: str) -> None:
    try:
        is_weighted = bool(parse_weights(prompt).spans)
    except RequestError:  # a weight out of range
        is_weighted = True
    if is_weighted:
        raise RequestError(
            f"MusicGen has no prompt weights such as (loud:1.3), found '{shown(prompt)}'",
            r"leave the weights out, or write \( for a parenthesis that is text",
        )
