"""Name output files by number, or by a pattern such as {model}/{prompt}-{seed}.wav."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter

from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, shown

Request = GenerationRequest | MusicRequest
SLUG_LENGTH = 40
PLACEHOLDERS = ("seed", "prompt", "n", "model")


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


def fill_pattern(pattern: str, requests: Sequence[Request], model: str) -> list[str]:
    """Fill in the placeholders of a pattern for each clip. Raises RequestError for unknown placeholders."""
    parts = _parts(pattern)
    name = re.sub(r"[^\w.@-]+", "-", Path(model).name) or "model"
    return [
        "".join(text + (values[field] if field else "") for text, field in parts)
        for values in (_values(request, i, len(requests), name) for i, request in enumerate(requests))
    ]


def _values(request: Request, index: int, count: int, model: str) -> Mapping[str, str]:
    return {
        "seed": str(request.seed),
        "prompt": slug(prompt_text(request)),
        "n": number(index, count),
        "model": model,
    }


def _parts(pattern: str) -> list[tuple[str, str]]:
    """Split a pattern into pieces of text, each with the placeholder that follows, or an empty string."""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    hint = f"placeholders: {known}; write {{{{ and }}}} for literal braces"
    try:
        pieces = list(Formatter().parse(pattern))
    except ValueError:
        raise RequestError(f"--out {shown(pattern)} has an unbalanced brace", hint) from None
    parts = []
    for text, field, width, conversion in pieces:
        if field is not None and (field not in PLACEHOLDERS or width or conversion):
            close = difflib.get_close_matches(field, PLACEHOLDERS, 1)
            guess = f"did you mean {{{close[0]}}}? " if close and not (width or conversion) else ""
            written = field + (f"!{conversion}" if conversion else "") + (f":{width}" if width else "")
            raise RequestError(f"--out has no placeholder {{{shown(written)}}}", guess + hint)
        parts.append((text, field or ""))
    return parts
