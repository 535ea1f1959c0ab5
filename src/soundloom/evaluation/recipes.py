"""Recipes: every choice between a sound file and a figure. Only figures of equal recipes are comparable."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from soundloom.errors import RequestError, shown
from soundloom.evaluation.windows import Tail

Level = Literal["peak -1 dB", "none", "-23 LUFS"]


@dataclass(frozen=True)
class Recipe:
    """How sounds become embeddings, and embeddings figures.

    Both sides are decoded to float32, mixed to the embedder's channels by their mean, resampled by soxr HQ, and set to
    the same level. `window` and `hop` of 0 are those of the embedder. `about` names the published system.
    """

    name: str
    about: str
    embedder: str
    level: Level = "peak -1 dB"
    window: float = 0.0  # seconds
    hop: float = 0.0  # seconds
    tail: Tail = "last at the end"
    half_precision: bool = False  # embeddings are rounded to float16
    pooling: Literal["windows", "mean"] = "windows"  # each window is a row of the set, or each clip
    score: Literal["mean of cosines", "cosine of mean"] = "mean of cosines"
    text: str = "{caption}"  # what the text embedder reads
    mono: str = "mean of channels"
    resampler: str = "soxr HQ"

    @property
    def hash(self) -> str:
        """The SHA-256 of all fields but the name and description."""
        return _hash({name: value for name, value in asdict(self).items() if name not in ("name", "about")})

    @property
    def embedding_hash(self) -> str:
        """The SHA-256 of the fields that the embeddings depend on."""
        names = ("level", "window", "hop", "tail", "half_precision", "mono", "resampler")
        return _hash({name: getattr(self, name) for name in names})

    def text_of(self, caption: str) -> str:
        """Return what the text embedder reads for a caption."""
        return self.text.replace("{caption}", caption)

    def with_embedder(self, name: str) -> Recipe:
        """Return the same rules for another embedder."""
        return replace(self, embedder=name)

    def record(self) -> dict[str, Any]:
        """Return all fields as JSON values, and the hash."""
        return {**asdict(self), "hash": self.hash}


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("soundloom", "our rule: whole windows, and one that ends with the clip", "clap-music-speech"),
        Recipe(
            "stability-2026",
            "callbacks of stable-audio-tools: whole blocks of 10 s, the tail dropped, one vector per block",
            "clap-music-speech",
            window=10.0,
            hop=10.0,
            tail="whole only",
            score="cosine of mean",
        ),
        Recipe(
            "fadtk",
            "fadtk and kadtk: a window every second, tails padded, embeddings stored in half precision",
            "clap-music",
            level="none",
            window=10.0,
            hop=1.0,
            tail="every hop",
            half_precision=True,
        ),
        Recipe(
            "audiocraft",
            "MusicGen: VGGish on frames of 0.96 s at 16 kHz",
            "vggish",
            window=0.975,  # 96 steps of 10 ms, the last of 25 ms
            hop=0.96,
            tail="whole only",
        ),
        Recipe(
            "stability-2024",
            "stable-audio-metrics: OpenL3 in stereo, windows of 1 s every 0.5 s; an embedder of your own only",
            "openl3",
            window=1.0,
            hop=0.5,
            tail="every hop",
        ),
        Recipe(
            "seed-clap",
            "CLAP score of an instruction: cosine of the clip with the words of the instruction",
            "clap-htsat-unfused",
            level="none",
            window=10.0,
            hop=10.0,
        ),
    )
}
DEFAULT_RECIPE = "soundloom"


def find_recipe(name: str, embedder: str | None = None) -> Recipe:
    """Return a recipe by name, with another embedder if one is named. Raises RequestError."""
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, 1)
        guess = f"did you mean {close[0]}? " if close else ""
        raise RequestError(f"there is no recipe '{shown(name)}'", f"{guess}recipes: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    return recipe.with_embedder(embedder) if embedder else recipe
