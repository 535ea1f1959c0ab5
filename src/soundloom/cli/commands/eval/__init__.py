"""`soundloom eval`: its actions, one file each. Without an action, a model is evaluated on the synthetic dataset."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.options.flags import flag
from soundloom.errors import RequestError

ACTIONS = {
    "set": "Measure how far sounds, or a model's clips, are from a reference: FAD, KAD, coverage",
    "align": "Measure how well sounds match their captions: the CLAP score",
    "edits": "Measure what edits keep, their seams, variations, and edits by instruction",
    "prepare": "Make a set and a list of prompts from a data set that you have fetched",
    "control": "Count how often a model keeps to tempo, key, pitch, duration, loudness, side and loop",
    "codec": "Compare sounds with what the codec of a model makes of them",
    "cache": "Show the size of the cache of embeddings, or clear it",
    "compare": "Compare reports in pairs of clips: better, same, worse or undecided",
    "fetch": "Fetch the weights of an embedder, or list embedders",
    "sweep": "Measure a model at several settings: quality against seconds per clip",
    "survey": "Make a blind listening test from reports, and evaluate its answers",
    "synthetic": "Evaluate a model on synthetic sounds, whose labels are exact (the default action)",
}
DEFAULT_ACTION = "synthetic"


@dataclass(frozen=True)
class Options:
    """Evaluate models and sounds."""

    action: str | None = flag(nargs="?", metavar="ACTION", help=", ".join(ACTIONS))


def run(options: Options) -> None:
    """Raise RequestError: this runs only if no action was named."""
    raise RequestError(
        "soundloom eval needs an action or a model",
        f"for example: soundloom eval mini; actions: {', '.join(ACTIONS)}",
    )
