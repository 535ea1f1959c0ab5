"""What a model can do, so that clients offer only what works."""

from __future__ import annotations

from functools import cache
from typing import Any

from soundloom.config.catalogue import find_entry
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.parse import parse
from soundloom.config.prompt_templates import TEMPLATES
from soundloom.config.stable_audio.model import ModelConfig

MODES = ("generate", "vary", "inpaint", "extend", "loop")


def facts_of_config(name: str, config: ModelConfig | MusicGenConfig) -> dict[str, Any]:
    """Describe what a model does with requests: its kinds of jobs, lengths, prompts and sampling."""
    if isinstance(config, MusicGenConfig):
        return _music_facts(config)
    defaults, (shortest, longest) = config.sampling_defaults, config.trained_seconds
    return {
        "modes": list(MODES),
        "music": False,
        "distilled": config.is_distilled,
        "guidance": defaults.guidance,
        "steps": defaults.steps,
        "sampler": defaults.sampler,
        "rate": config.sample_rate,
        "channels": config.audio_channels,
        "min_seconds": shortest,
        "pass_seconds": longest,
        "tokens": config.model.conditioning.prompt.max_length,
        "sounds": list(config.sound_names),
        "templates": _templates(name),
        "instruments": [],
    }


def _music_facts(config: MusicGenConfig) -> dict[str, Any]:
    instruct = config.instruct
    return {
        "modes": ["edit"] if instruct else ["generate"],
        "music": True,
        "distilled": None,
        "guidance": MusicRequest.guidance,
        "steps": None,
        "sampler": None,
        "rate": config.sample_rate,
        "channels": config.lm.audio_channels,
        "min_seconds": 0.0,
        "pass_seconds": instruct.window if instruct else config.max_seconds,
        "tokens": None,
        "sounds": [],
        "templates": [],
        "instruments": list(instruct.instruments) if instruct else [],
    }


def _templates(name: str) -> list[str]:
    """Return the templates whose sounds a model was trained on."""
    if "sfx" in name:
        return ["sfx"]
    return ["music", "instrument"] if "music" in name else list(TEMPLATES)


@cache
def facts_of_entry(name: str) -> dict[str, Any]:
    """Describe a model of the catalogue; its configuration is built once."""
    entry = find_entry(name)
    if entry is None:
        return {}
    config = parse(MusicGenConfig, entry.config()) if entry.is_musicgen else entry.parsed_config()
    return facts_of_config(name, config) if isinstance(config, ModelConfig | MusicGenConfig) else {}
