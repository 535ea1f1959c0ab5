"""Add the dialects to the application."""

from __future__ import annotations

from fastapi import FastAPI

from soundloom.serving.dialects import elevenlabs, openai, stability
from soundloom.serving.dialects.errors import DialectErrors, add_error_handlers


def mount(app: FastAPI) -> None:
    """Add the routes of Stability, OpenAI and ElevenLabs. To be called after all other middleware is added."""
    routes = stability.create_router()
    for prefix in stability.PREFIXES:
        app.include_router(routes, prefix=prefix)
    app.include_router(openai.router)
    app.include_router(elevenlabs.router)
    add_error_handlers(app)
    rewrites = dict.fromkeys(stability.PREFIXES, stability.rewrite)
    rewrites |= {openai.PREFIX: openai.rewrite, elevenlabs.PATH: elevenlabs.rewrite}
    app.add_middleware(DialectErrors, rewrites=rewrites)
