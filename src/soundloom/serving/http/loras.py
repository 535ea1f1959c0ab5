"""The route of adapters."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from soundloom.serving.http.owners import server_of

router = APIRouter(prefix="/v1/loras", tags=["models"])


class LoraOut(BaseModel):
    """An adapter: the models that it fits, its trigger words, and the strength that its author advises.

    One that cannot be read has only a name and an `error`.
    """

    name: str
    sha256: str = ""
    type: str = ""
    rank: int = 0
    alpha: float = 0.0
    layers: int = 0
    fits: list[str] = Field(default_factory=list)
    trigger: str | None = None
    strength: float | None = None
    notices: list[str] = Field(default_factory=list)
    error: str | None = None


class LorasOut(BaseModel):
    """The adapters in the server's folder of adapters."""

    loras: list[LoraOut]


@router.get("")
async def loras(request: Request) -> LorasOut:
    """List the adapters in the folder of adapters."""
    found = await asyncio.to_thread(server_of(request).adapters.all)
    return LorasOut(loras=[LoraOut(**one) for one in found])
