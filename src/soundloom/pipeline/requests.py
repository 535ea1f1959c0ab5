"""From the options of a call to requests: short forms filled in, and one request for each of several prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from soundloom.config.stable_audio.request import SEED_LIMIT, Compat, GenerationRequest, Guidance
from soundloom.config.values import as_int
from soundloom.diffusion.noise import random_seed
from soundloom.errors import RequestError


def build_request(prompt: str, options: Mapping[str, Any]) -> GenerationRequest:
    """Build a request from a caller's options, whose short forms are a guidance scale and the name of a `Compat`."""
    values = dict(options)
    if not isinstance(values.get("guidance"), Guidance | None):
        values["guidance"] = Guidance(values["guidance"])
    if isinstance(values.get("compat"), str):
        values["compat"] = Compat.named(values["compat"])
    return GenerationRequest(prompt, **values)


def build_requests(prompts: Sequence[str], options: Mapping[str, Any]) -> list[GenerationRequest]:
    """Build a request for each prompt, spreading options that hold for all."""
    values = dict(options)
    values["seed"] = spread_seed(values.get("seed"), len(prompts))
    for name in ("negative_prompt", "seconds", "seed"):
        value = values.get(name)
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        values[name] = value if is_list else [value] * len(prompts)
        if len(values[name]) != len(prompts):
            raise RequestError(f"{len(prompts)} prompts were given and {len(values[name])} values of {name}")
    each = ("negative_prompt", "seconds", "seed")
    rows = [{name: values[name][i] for name in each} for i in range(len(prompts))]
    return [build_request(prompt, {**values, **row}) for prompt, row in zip(prompts, rows, strict=True)]


def spread_seed(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Return a seed for each of several clips, counting up from a given or drawn one."""
    if isinstance(seed, Sequence):
        return list(seed)
    first = random_seed() if seed is None else as_int("seed", seed)
    return [(first + i) % SEED_LIMIT for i in range(count)]
