"""From flags to requests: several prompts, lengths and seeds become as many clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from soundloom.cli.options.groups import SamplingOptions, SeedOptions
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError
from soundloom.pipeline.requests import spread_seed

Request = TypeVar("Request", GenerationRequest, MusicRequest)
MOST_CLIPS = 100_000  # of one command
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
    base = replace(base, **options.changes(base.guidance, config))
    given = {"prompt": prompts, "negative_prompt": options.negative_prompt, "seconds": seconds}
    return spread_requests(base, options, given)


def spread_requests(base: Request, options: SeedOptions, given: Mapping[str, Sequence[Any]]) -> list[Request]:
    """Change `base` once for each value of the fields in `given` and each seed, `--count` times each.

    Where one of these was given once, it holds for all clips. Raises RequestError.
    """
    if options.count < 1:
        raise RequestError(f"--count must be 1 or more, found {options.count}")
    given = {name: values for name, values in given.items() if values}
    items = max(1, len(options.seed), *map(len, given.values()))
    for name, values in {**given, "seed": options.seed}.items():
        if len(values) not in (0, 1, items):
            flag = name if name == "prompt" else "--" + name.replace("_", "-")
            raise RequestError(f"{flag} was given {len(values)} times for {items} clips", "give one, or one for each")
    if items * options.count > MOST_CLIPS:
        raise RequestError(
            f"{items * options.count} clips are asked for; one command makes at most {MOST_CLIPS:,}", "lower --count"
        )
    rows = [{name: values[min(i, len(values) - 1)] for name, values in given.items()} for i in range(items)]
    clips = [row for row in rows for _ in range(options.count)]
    return [replace(base, **row, seed=seed) for row, seed in zip(clips, _seeds(options, base, len(clips)), strict=True)]


def _seeds(options: SeedOptions, base: GenerationRequest | MusicRequest, clips: int) -> list[int | None]:
    """A seed for each clip: counting up from the only one, or from each given one."""
    seeds = [None if seed == DRAWN else seed for seed in options.seed]
    for seed in seeds:
        replace(base, seed=seed)  # refuses what is out of range, which counting up would hide
    if len(seeds) > 1:
        return [seed for first in seeds for seed in spread_seed(first, options.count)]
    return spread_seed(seeds[0] if seeds else base.seed, clips)
