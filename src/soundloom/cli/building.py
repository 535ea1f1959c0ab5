"""From flags to requests: several prompts, lengths and seeds become as many clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from soundloom.cli.groups import SamplingOptions
from soundloom.config.models import ModelConfig
from soundloom.config.requests import GenerationRequest
from soundloom.errors import RequestError
from soundloom.pipeline.model import spread_seed

Value = TypeVar("Value")
DRAWN = -1  # the published way to ask for a seed by chance


def build_requests(
    base: GenerationRequest,
    options: SamplingOptions,
    config: ModelConfig,
    prompts: Sequence[str] = (),
    seconds: Sequence[float] = (),
) -> list[GenerationRequest]:
    """Change `base` as the flags say, once for each prompt, negative prompt, length and seed, `--count` times each.

    Where one of these was given once, it holds for all clips. Raises RequestError.
    """
    if options.count < 1:
        raise RequestError(f"--count must be 1 or more, found {options.count}")
    base = replace(base, **options.changes(base.guidance, config))
    given = {
        "prompt": prompts,
        "--negative-prompt": options.negative_prompt,
        "--seconds": seconds,
        "--seed": options.seed,
    }
    items = max(1, *map(len, given.values()))
    for name, values in given.items():
        if len(values) not in (0, 1, items):
            raise RequestError(f"{name} was given {len(values)} times for {items} clips", "give one, or one for each")
    each = zip(
        _spread(prompts, base.prompt, items),
        _spread(options.negative_prompt, base.negative_prompt, items),
        _spread(seconds, base.seconds, items),
        strict=True,
    )
    clips = [clip for clip in each for _ in range(options.count)]
    return [
        replace(base, prompt=prompt, negative_prompt=negative, seconds=length, seed=seed)
        for (prompt, negative, length), seed in zip(clips, _seeds(options, base, len(clips)), strict=True)
    ]


def _spread(values: Sequence[Value], default: Value, count: int) -> list[Value]:
    return list(values) if len(values) > 1 else [values[0] if values else default] * count


def _seeds(options: SamplingOptions, base: GenerationRequest, clips: int) -> list[int | None]:
    """A seed for each clip: counting up from the only one, or from each given one."""
    seeds = [None if seed == DRAWN else seed for seed in options.seed]
    for seed in seeds:
        replace(base, seed=seed)  # refuses what is out of range, which counting up would hide
    if len(seeds) > 1:
        return [seed for first in seeds for seed in spread_seed(first, options.count)]
    return spread_seed(seeds[0] if seeds else base.seed, clips)
