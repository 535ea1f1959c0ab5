"""Which requests run together, and clips that are handed out as soon as their group is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import OutputError
from soundloom.pipeline.stable_audio.passes import begin
from soundloom.pipeline.stable_audio.plan import Item, batch_key, measure_shared, places_alike


def group_requests(
    requests: Sequence[GenerationRequest], config: ModelConfig, default_seconds: float, limit: int
) -> list[list[int]]:
    """Return the places of requests that run together, at most `limit` at once, in the order of their first.

    Requests that differ only in prompt and seed are planned once, so that hundreds of clips cost nothing before the
    first is made. Raises RequestError for what the model cannot do.
    """
    planned: dict[GenerationRequest, Item] = {}
    items = []
    for request in requests:
        plan = replace(request, prompt="", negative_prompt=None, seed=0)
        if plan not in planned:
            planned[plan] = begin(plan, config, default_seconds).measure()
        items.append(planned[plan])
    if items and len({item.frames for item in measure_shared(items)}) < len({item.frames for item in items}):
        return [list(range(len(items)))]  # published systems make all clips as long as the longest
    return places_alike([batch_key(item) for item in items], limit)


def good_clips(
    groups: Sequence[Sequence[int]], make: Callable[[Sequence[int]], Sequence[Callable[[], Clip]]]
) -> Iterator[tuple[int, Clip]]:
    """Yield place and clip, group by group; `make` runs a group and returns what checks and wraps each result.

    A clip that is no usable sound does not cost the others: its OutputError is raised when they have been yielded,
    but at once where a group of several came to nothing, as it does with a model that makes no sound at all.
    """
    failure: OutputError | None = None
    for places in groups:
        good = 0
        for place, check in zip(places, make(places), strict=True):
            try:
                clip = check()
            except OutputError as error:
                failure = failure or error
                continue
            good += 1
            yield place, clip
        if failure is not None and len(places) > 1 and not good:
            break
    if failure is not None:
        raise failure
