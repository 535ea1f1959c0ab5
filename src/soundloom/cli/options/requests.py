"""Build requests from options: one per prompt, length, and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from soundloom.cli.options.loras import LoraOptions, with_adapters
from soundloom.cli.options.sampling import SamplingOptions, SeedOptions
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError
from soundloom.pipeline.requests import spread_seed

Request = TypeVar("Request", GenerationRequest, MusicRequest)
MAX_CLIPS = 100_000  # per command
RANDOM_SEED = -1  # the published convention


def build_requests(
    base: GenerationRequest,
    options: SamplingOptions,
    config: ModelConfig,
    model: str,
    given: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> list[GenerationRequest]:
    """Return copies of `base` with the options applied: `--count` for each prompt, negative prompt, length, and seed.

    `config` and `model` are configuration and name of the model; `given` has the values of further fields. An option
    that was given once applies to all clips. Raises RequestError.
    """
    base = replace(base, **options.changes(base.guidance, config))
    if isinstance(options, LoraOptions):
        base = with_adapters(base, options, config, model)
    texts = {"prompt_b": options.prompt_b, "mix": options.mixes, "negative_prompt": options.negative_prompt}
    return spread_requests(base, options, {**given, **texts})


def spread_requests(base: Request, options: SeedOptions, given: Mapping[str, Sequence[Any]]) -> list[Request]:
    """Return copies of `base`: `--count` for each value of the fields in `given` and each seed.

    A field with a single value applies to all clips. Raises RequestError.
    """
    require_count(options)
    given = {name: values for name, values in given.items() if values}
    items = max(1, len(options.seed), *map(len, given.values()))
    for name, values in {**given, "seed": options.seed}.items():
        if len(values) not in (0, 1, items):
            flag = name if name == "prompt" else "--" + name.replace("_", "-")
            raise RequestError(f"{flag} has {len(values)} values for {items} clips", "pass one value, or one per clip")
    require_count(options, items)
    rows = [{name: values[min(i, len(values) - 1)] for name, values in given.items()} for i in range(items)]
    clips = [row for row in rows for _ in range(options.count)]
    return [replace(base, **row, seed=seed) for row, seed in zip(clips, _seeds(options, base, len(clips)), strict=True)]


def require_count(options: SeedOptions, items: int = 1) -> None:
    """Raise RequestError unless `--count` clips for each of several items are at least 1 and not too many."""
    if options.count < 1:
        raise RequestError(f"--count must be 1 or more, found {options.count}")
    if items * options.count > MAX_CLIPS:
        raise RequestError(
            f"one command generates at most {MAX_CLIPS:,} clips, not {items * options.count}", "lower --count"
        )


def _seeds(options: SeedOptions, base: GenerationRequest | MusicRequest, clips: int) -> list[int | None]:
    """Return a seed for each clip: consecutive seeds from the only one, or from each one."""
    seeds = [None if seed == RANDOM_SEED else seed for seed in options.seed]
    for seed in seeds:
        replace(base, seed=seed)  # raises RequestError for seeds out of range
    if len(seeds) > 1:
        return [seed for first in seeds for seed in spread_seed(first, options.count)]
    return spread_seed(seeds[0] if seeds else base.seed, clips)
