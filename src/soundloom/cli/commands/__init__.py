"""One file for each command."""

from importlib import import_module
from typing import Any

COMMANDS = {
    "generate": "make sound from words",
    "vary": "make a variation of a sound",
    "inpaint": "make regions of a sound anew",
    "extend": "continue a sound, or precede it",
    "trim": "cut a part out of a sound",
    "edit": "edit music by words: only the drums, no piano",
    "encode": "turn a sound into latents (.npy)",
    "decode": "turn latents into a sound",
    "models": "list, fetch, describe and verify models",
    "convert": "write a model in another layout",
    "quantize": "write a model in fewer bits, and measure what that costs",
    "train": "make a model from a recipe, or teach one that exists",
    "show": "say how a sound was made",
    "play": "play sounds",
    "bench": "measure seconds and memory on this machine",
    "eval": "measure how well a model does what it is asked",
    "doctor": "report what this machine has and what soundloom uses of it",
    "completion": "print what completes commands and flags in bash, zsh or fish",
}

_AUDIO = {"generate", "vary", "inpaint", "extend", "trim", "edit", "encode", "decode", "show", "play"}


def load_command(name: str) -> Any:
    """Import the module of one command and no other: it has `Options`, the command's flags, and `run`."""
    return import_module(f"soundloom.cli.commands.{'audio.' if name in _AUDIO else ''}{name}")
