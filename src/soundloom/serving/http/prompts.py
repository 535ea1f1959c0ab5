"""Routes of prompts: random ones, those of templates, and what a model reads of one."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from soundloom.config.prompt_templates import MINI, TEMPLATES, prompt_template
from soundloom.config.random_prompts import mini_prompts, random_prompt
from soundloom.serving.http.contract import problems
from soundloom.serving.http.owners import server_of
from soundloom.serving.http.schemas import Strict

router = APIRouter(prefix="/v1/prompts", tags=["prompts"])
Model = Annotated[str, Query(max_length=200, description="by default the server's model")]
Text = Annotated[str, Field(max_length=10_000)]


class KindOfSound(BaseModel):
    """A kind of sound that a model knows, and a prompt for it."""

    name: str
    prompt: str


class TemplateOut(BaseModel):
    """A template of prompts: the text that begins them, and the keys it takes."""

    name: str
    start: str
    keys: list[str]


class PromptsOut(BaseModel):
    """Prompts that fit a model: a random one, one for each kind of sound that it knows, and templates."""

    model: str
    random: str
    sounds: list[KindOfSound]
    templates: list[TemplateOut]


class TemplateIn(Strict):
    """A template and its values."""

    name: Literal["music", "instrument", "sfx"]
    values: dict[str, str] = Field(default_factory=dict, max_length=20)
    description: Text = ""
    model: str | None = Field(None, max_length=200)


class PromptOut(BaseModel):
    """A prompt."""

    prompt: str


class ReadIn(Strict):
    """A prompt to read as a model does."""

    prompt: Text
    model: str | None = Field(None, max_length=200)


class ReadOut(BaseModel):
    """What a model reads of a prompt: see `serving.prompts.PromptReading`."""

    tokens: int | None
    limit: int | None
    unread: str | None
    unknown: list[str]
    names_sound: bool
    bpm: float | None
    key: str | None
    understood: str | None
    trained: bool
    problem: str | None


@router.get("", responses=problems(404))
async def prompts(
    request: Request, model: Model = "", seed: Annotated[int | None, Query(ge=0, lt=2**63)] = None
) -> PromptsOut:
    """Draw prompts that fit a model; equal seeds give equal prompts."""
    server = server_of(request)
    name = model or server.settings.model
    facts = server.models.facts_of(name)
    sounds = mini_prompts(seed) if name == MINI else {}
    return PromptsOut(
        model=name,
        random=random_prompt(name, seed, sounds=facts["sounds"]),
        sounds=[KindOfSound(name=kind, prompt=prompt) for kind, prompt in sounds.items()],
        templates=[_template(one, name) for one in facts["templates"]],
    )


def _template(name: str, model: str) -> TemplateOut:
    found = TEMPLATES[name]
    return TemplateOut(name=name, start=found.mini_start if model == MINI else found.start, keys=list(found.keys))


@router.post("/template", responses=problems(404))
async def template(body: TemplateIn, request: Request) -> PromptOut:
    """Write a prompt in the form of the captions that a model was trained on."""
    model = body.model or server_of(request).settings.model
    values = {key: value for key, value in body.values.items() if value.strip()}
    return PromptOut(prompt=prompt_template(body.name, body.description, model=model, **values))


@router.post("/read", responses=problems(404))
async def read(body: ReadIn, request: Request) -> ReadOut:
    """Say what a model reads of a prompt: its tokens, words that it does not know, and the tempo it names."""
    server = server_of(request)
    model = server.dispatcher.model(body.model or server.settings.model)
    return ReadOut(**vars(await asyncio.to_thread(server.prompts.read, body.prompt, model)))
