"""Name output files by number, or by a pattern such as {model}/{prompt}-{seed}.wav or step_{n:02}."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from soundloom.audio.formats.containers import CONTAINERS
from soundloom.audio.records import recorded_prompt, recorded_title
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.prompt_facts import prompt_bpm, prompt_key
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, shown

Request = GenerationRequest | MusicRequest
SLUG_LENGTH = 40
MAX_NAME_BYTES = 255
PLACEHOLDERS = ("seed", "prompt", "n", "model", "bpm", "key")
_WIDTH = re.compile(r"0([1-9]\d?)d?")  # of a number padded with zeros


@dataclass(frozen=True)
class ClipFacts:
    """What a file name can say about a clip. `text` is its prompt, or both of a blend, without weights."""

    text: str
    prompt: str
    seed: int | None
    bpm: float | None = None

    @classmethod
    def of(cls, request: Request) -> ClipFacts:
        return cls(prompt_text(request), request.prompt, request.seed, getattr(request, "bpm", None))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> ClipFacts:
        """Return the facts in the record of a file, as far as it has them."""
        request, seed = record.get("request"), record.get("seed")
        bpm = request.get("bpm") if isinstance(request, Mapping) else None
        bpm = float(bpm) if isinstance(bpm, int | float) else None
        return cls(recorded_title(record), recorded_prompt(record), seed if isinstance(seed, int) else None, bpm)

    @property
    def tempo(self) -> float | None:
        """The tempo that the clip was asked for, or that its prompt names."""
        return prompt_bpm(self.text) if self.bpm is None else self.bpm

    @property
    def key(self) -> str | None:
        """The key that the prompt names."""
        return prompt_key(self.text)


def slug(prompt: str) -> str:
    """Return the start of a prompt as part of a file name."""
    return re.sub(r"\W+", "-", prompt.lower())[:SLUG_LENGTH].strip("-") or "clip"


def prompt_text(request: Request) -> str:
    """Return the prompts of a request without their weights."""
    return request.text if isinstance(request, MusicRequest) else " ".join(request.texts)


def clip_name(request: Request) -> Path:
    """Return a file name from the prompt and the seed."""
    return Path(f"{slug(prompt_text(request))}-{request.seed}.wav")


def number(index: int, count: int) -> str:
    """Return the zero-based number of a clip, padded with zeros so that names sort in order."""
    return str(index).zfill(len(str(count - 1)))


def numbered(path: Path, index: int, count: int) -> Path:
    """Return NAME_0.wav, or NAME_00.wav if there are more than ten clips."""
    return path if count == 1 else path.with_name(f"{path.stem}_{number(index, count)}{path.suffix}")


def named_in(folder: Path, name: str, suffix: str) -> Path:
    """Return the file of a name that --name gave, in a folder. Raises RequestError for what cannot be a file name."""
    base, dot, kind = name.rpartition(".")
    is_complete = f"{dot}{kind}".lower() in CONTAINERS
    if not (base if is_complete else name).strip(". ") or {"/", os.sep, "\0"} & {*name}:
        raise RequestError(f"--name {shown(repr(name))} is not the name of a file", "name the folder with -o")
    file = name if is_complete else name + suffix
    if len(os.fsencode(file)) > MAX_NAME_BYTES:
        raise RequestError(f"--name {shown(name)} is longer than {MAX_NAME_BYTES} bytes", "shorten it")
    return folder / file


def fill_pattern(flag: str, pattern: str, clips: Sequence[ClipFacts], model: str, first: int, count: int) -> list[str]:
    """Fill in the placeholders of the pattern of a flag for some clips of a command.

    `first` is the number of the first of them, `count` that of all clips of the command. Raises RequestError for
    unknown placeholders, and for those that a clip has no value for.
    """
    parts = _parts(flag, pattern)
    name = re.sub(r"[^\w.@-]+", "-", Path(model).name) or "model"
    return [
        "".join(text + _value(flag, field, width, clip, i, count, name) for text, field, width in parts)
        for i, clip in enumerate(clips, first)
    ]


def _value(flag: str, field: str, width: int, clip: ClipFacts, index: int, count: int, model: str) -> str:
    if field == "n":
        return str(index).zfill(width) if width else number(index, count)
    if field in ("bpm", "key"):
        return _fact(flag, field, clip)
    return {"seed": str(clip.seed), "prompt": slug(clip.text), "model": model}.get(field, "")


def _fact(flag: str, field: str, clip: ClipFacts) -> str:
    found = clip.tempo if field == "bpm" else clip.key
    if found is None:
        what = "one tempo, such as 120 BPM" if field == "bpm" else "one key, such as A minor"
        raise RequestError(
            f"{flag} has {{{field}}}, but '{shown(clip.prompt)}' does not name {what}", f"leave out {{{field}}}"
        )
    return f"{found:g}" if isinstance(found, float) else slug(found.replace("#", "-sharp"))


def _parts(flag: str, pattern: str) -> list[tuple[str, str, int]]:
    """Split a pattern into pieces of text, each with the placeholder that follows, or an empty string, and width."""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    hint = f"placeholders: {known}; {{n:03}} has three digits; write {{{{ and }}}} for literal braces"
    try:
        pieces = list(Formatter().parse(pattern))
    except ValueError:
        raise RequestError(f"{flag} {shown(pattern)} has an unbalanced brace", hint) from None
    parts = []
    for text, field, form, conversion in pieces:
        width = _WIDTH.fullmatch(form or "") if field == "n" else None
        if field is not None and (field not in PLACEHOLDERS or conversion or (form and not width)):
            close = difflib.get_close_matches(field, PLACEHOLDERS, 1)
            guess = f"did you mean {{{close[0]}}}? " if close and not (form or conversion) else ""
            written = field + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise RequestError(f"{flag} has no placeholder {{{shown(written)}}}", guess + hint)
        parts.append((text, field or "", int(width[1]) if width else 0))
    return parts
