"""`soundloom lora`: its actions, one file each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from soundloom.cli.options.flags import flag
from soundloom.errors import RequestError, shown

ACTIONS = {
    "info": "Describe an adapter, and check that it fits a model",
    "list": "List the adapters of a folder",
    "convert": "Convert an adapter to the native form, or from XS types",
    "merge": "Write a model with adapters merged into its weights",
    "combine": "Combine several adapters into one",
    "resize": "Reduce the rank of an adapter",
    "extract": "Extract an adapter from a tuned model and its base",
    "bases": "Write the singular vectors of a model's weights, for XS types",
    "check": "Check a training set: captions, levels, damaged and silent clips",
    "encode": "Encode a training set to latents",
    "train": "Train an adapter on captioned sounds",
    "bake": "Store norms of adapted rows in an adapter",
}


@dataclass(frozen=True)
class Options:
    """Work with LoRA adapters."""

    action: str | None = flag(nargs="?", metavar="ACTION", help=", ".join(ACTIONS))


def run(options: Options) -> None:
    """Raise RequestError: this runs only if no action, or an unknown one, was named."""
    listed = f"actions: {', '.join(ACTIONS)}"
    if options.action is None:
        raise RequestError("soundloom lora needs an action", f"for example: soundloom lora info FILE; {listed}")
    close = difflib.get_close_matches(options.action, ACTIONS, 2)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    raise RequestError(f"there is no action '{shown(options.action)}'", f"{guess}{listed}")
