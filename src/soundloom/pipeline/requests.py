"""Build requests from the options of a call: spread options over prompts and fill in short forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from soundloom.config.stable_audio.adapters import AdapterStack
from soundloom.config.stable_audio.request import SEED_LIMIT, Compat, GenerationRequest, Guidance
from soundloom.config.values import as_int
from soundloom.diffusion.noise import random_seed
from soundloom.errors import RequestError

CONTROLS = ("progress", "cancel")  # options of a call that are not part of its requests


def build_request(prompt: str, options: Mapping[str, Any]) -> GenerationRequest:
    """Build a request from a caller's options; guidance may be a scale, and `compat` a name."""
    values = dict(options)
    if not isinstance(values.get("guidance"), Guidance | None):
        values["guidance"] = Guidance(values["guidance"])
    if isinstance(values.get("compat"), str):
        values["compat"] = Compat.named(values["compat"])
    if values.get("loras") is not None:
        values["loras"] = AdapterStack.of(values["loras"])
    return GenerationRequest(prompt, **values)


def spread(
    prompt: str | Sequence[str], options: Mapping[str, Any], lists: Sequence[str] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """Return each prompt with its options. With several prompts, options named in `lists` may be lists too.

    One seed counts up from prompt to prompt. Raises RequestError for lists of another length.
    """
    values = {name: value for name, value in options.items() if name not in CONTROLS}
    if isinstance(prompt, str):
        return [(prompt, values)]
    if not isinstance(prompt, Sequence):
        raise RequestError(
            f"a prompt must be text, or a list of texts, found {type(prompt).__name__}", 'model.generate("rain")'
        )
    values["seed"] = spread_seed(values.get("seed"), len(prompt))
    rows = [(text, dict(values)) for text in prompt]
    for name in ("seed", *lists):
        given = values.get(name)
        if not isinstance(given, Sequence) or isinstance(given, str):
            continue
        if len(given) != len(prompt):
            raise RequestError(f"{len(prompt)} prompts were given and {len(given)} values of {name}")
        for (_, row), value in zip(rows, given, strict=True):
            row[name] = value
    return rows


def spread_seed(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Return a seed for each of several clips, counting up from a given or random one."""
    if isinstance(seed, Sequence):
        return list(seed)
    first = random_seed() if seed is None else as_int("seed", seed)
    return [(first + i) % SEED_LIMIT for i in range(count)]
