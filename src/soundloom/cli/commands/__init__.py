"""The commands of `soundloom`, one file each; `lora` and `eval` are folders of their actions."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

COMMANDS = {
    "generate": "Generate audio from text prompts",
    "vary": "Generate a variation of an audio file",
    "inpaint": "Regenerate regions of an audio file",
    "extend": "Continue an audio file, or prepend to it",
    "loop": "Make audio files repeat without a break",
    "trim": "Keep only one section of an audio file",
    "edit": 'Edit music by instruction, such as "Only drums"',
    "encode": "Encode audio files to latents",
    "decode": "Decode latents to an audio file",
    "models": "List, download, describe, and verify models",
    "convert": "Convert a model to another layout",
    "quantize": "Quantize a model, and measure the error",
    "train": "Train or fine-tune a model",
    "lora": "Train, inspect, convert, combine, and merge LoRA adapters",
    "show": "Show the prompt and settings of a generated file",
    "play": "Play audio files",
    "studio": "Open the studio: make and edit audio in the browser",
    "serve": "Serve the models to programs and browsers",
    "bench": "Measure speed and memory on this machine",
    "eval": "Evaluate the quality of models and sounds",
    "doctor": "Report hardware, engines, and installed models",
    "completion": "Print a completion script for bash, zsh, or fish",
}

_AUDIO = {"generate", "vary", "inpaint", "extend", "loop", "trim", "edit", "encode", "decode", "show", "play"}


_GROUPS = ("lora", "eval")  # commands whose first argument names an action with options of its own


def actions_of(command: str) -> dict[str, str]:
    """Return the actions of a command with their summaries; other commands have none."""
    actions: dict[str, str] = load_command(command).ACTIONS if command in _GROUPS else {}
    return actions


def default_action(command: str) -> str:
    """Return the action that a command with actions runs if none is named; "" if it needs one."""
    return getattr(load_command(command), "DEFAULT_ACTION", "")


def resolve(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command or action that arguments name, such as `lora info`, and the other arguments."""
    name, *rest = arguments
    if rest and rest[0] in actions_of(name):
        return f"{name} {rest[0]}", rest[1:]
    action = default_action(name)
    return (f"{name} {action}" if action and rest else name), rest


def every_command() -> list[str]:
    """Return what `load_command` accepts: all commands, and all actions such as `lora info`."""
    return [name for command in COMMANDS for name in (command, *(f"{command} {one}" for one in actions_of(command)))]


def load_command(name: str) -> Any:
    """Import the module of a command or action. It defines the dataclass `Options` and the function `run`.

    The module of a command with actions defines `ACTIONS`, their summaries.
    """
    path = name.replace(" ", ".")
    return import_module(f"soundloom.cli.commands.{'audio.' if name in _AUDIO else ''}{path}")
