"""What requests to list takes look for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from soundloom.serving.http.owners import owner_of
from soundloom.serving.storage.search import Order, Search

MAX_SEED = 2**63 - 1
Seconds = Annotated[float | None, Query(ge=0, le=1e6)]


def search_of(
    request: Request,
    text: Annotated[str, Query(max_length=200)] = "",
    tag: Annotated[list[str] | None, Query()] = None,
    kind: Annotated[list[str] | None, Query()] = None,
    favorite: bool | None = None,
    deleted: bool = False,
    parent: str | None = None,
    order: Order = "newest",
    model: Annotated[str | None, Query(max_length=200)] = None,
    seed: Annotated[int | None, Query(ge=0, le=MAX_SEED)] = None,
    bpm: Annotated[float | None, Query(ge=0, le=10_000)] = None,
    min_seconds: Seconds = None,
    max_seconds: Seconds = None,
) -> Search:
    """Return what the parameters of a request look for."""
    return Search(
        *(text, tuple(tag or ()), tuple(kind or ()), favorite, deleted, parent, owner_of(request), order),
        model=model,
        seed=seed,
        bpm=bpm,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
    )
