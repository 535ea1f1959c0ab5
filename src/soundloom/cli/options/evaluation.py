"""Options of commands that measure sounds: what is measured, by which recipe, and where the report goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.gates import GateOptions
from soundloom.cli.options.model import DeviceOptions, DownloadOptions, EngineOptions
from soundloom.cli.options.output import JsonOptions, QuietOptions
from soundloom.cli.options.shared import (
    cfg_flag,
    limit_flag,
    model_flag,
    out_flag,
    precision_flag,
    prompt_file_flag,
    require_length,
    seconds_flag,
    seeds_flag,
    steps_flag,
)
from soundloom.errors import RequestError
from soundloom.evaluation.recipes import DEFAULT_RECIPE, RECIPES, Recipe, find_recipe
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.evaluation.cache import EmbeddingCache
    from soundloom.evaluation.embedders.base import Embedder

DEFAULT_SECONDS = 5.0


@dataclass(frozen=True)
class MeasuredOptions(EngineOptions, DeviceOptions, DownloadOptions):
    """What is measured."""

    sounds: str | None = flag(
        nargs="?", metavar="SOUNDS", help="a folder, a CSV or JSONL table, or a set.json; or use --model"
    )
    model: str | None = model_flag(help="generate the sounds with this model")
    prompts: str | None = prompt_file_flag(help="text, CSV or JSONL file of prompts for --model")
    seeds: int = seeds_flag()
    seconds: float = seconds_flag(
        default=DEFAULT_SECONDS, help="length where the prompts state none (default: 5, or the model's longest)"
    )
    steps: int | None = steps_flag(help="sampling steps (default: the model's)")
    cfg: float | None = cfg_flag(help="guidance scale (default: the model's)")
    prefix: str = flag(
        "--prefix", default="", metavar="TEXT", help='text before each prompt, such as "TrackType: Music, "'
    )
    limit: int | None = limit_flag(help="use the first N prompts only")
    precision: str = precision_flag(default="auto", help="precision of the transformer (default: auto)")

    def check_measured(self) -> None:
        """Raise RequestError unless either sounds or a model are named."""
        if bool(self.sounds) == bool(self.model):
            found = "both" if self.sounds else "neither"
            raise RequestError(f"expected SOUNDS or --model, found {found}", "name a folder of sounds, or a model")
        if self.prompts and not self.model:
            raise RequestError("--prompts needs --model", "SOUNDS bring their own captions")
        if self.seeds < 1 or (self.limit is not None and self.limit < 1) or (self.steps is not None and self.steps < 1):
            raise RequestError("--seeds, --limit and --steps must be 1 or more")
        require_length(self.seconds)

    def request_options(self) -> dict[str, Any]:
        """Return the fields of requests that were given."""
        from soundloom.config.stable_audio.request import Guidance

        given = {"steps": self.steps, "guidance": Guidance(self.cfg) if self.cfg is not None else None}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class EmbedderOptions:
    """Recipe."""

    recipe: str = flag(
        "--recipe", default=DEFAULT_RECIPE, metavar="NAME", help=f"{', '.join(RECIPES)} (default: {DEFAULT_RECIPE})"
    )
    embedder: str | None = flag(
        "--embedder", metavar="NAME", help="an embedder of `soundloom eval fetch --list` (default: the recipe's)"
    )

    def chosen_recipe(self) -> Recipe:
        """Return the recipe with the embedder that was chosen. Raises RequestError."""
        return find_recipe(self.recipe, self.embedder)

    def open_embedder(self, recipe: Recipe, device: str | None = None) -> Embedder:
        """Load the embedder of a recipe. Raises RequestError, EngineError, or ModelNotFoundError."""
        from soundloom.evaluation.embedders.load import load_embedder
        from soundloom.evaluation.frontend import require_fit

        embedder = load_embedder(recipe.embedder, device)
        require_fit(recipe, embedder.info)
        return embedder


@dataclass(frozen=True)
class RecipeOptions(EmbedderOptions):
    """Recipe."""

    no_cache: bool = switch("--no-cache", help="embed all sounds again")

    def open_cache(self) -> EmbeddingCache | None:
        """Open the cache of embeddings unless --no-cache was given."""
        from soundloom.evaluation.cache import EmbeddingCache

        return None if self.no_cache else EmbeddingCache()


@dataclass(frozen=True)
class ReportOptions(GateOptions, JsonOptions, QuietOptions):
    """Report."""

    out: str | None = out_flag(metavar="FOLDER", help="write report.json, report.md and report.html there")
    embed: bool = switch("--embed", help="put short sounds into report.html instead of beside it")

    @property
    def folder(self) -> Path | None:
        """The folder of the report. Raises RequestError for a file."""
        folder = expanded(self.out) if self.out else None
        if folder and folder.exists() and not folder.is_dir():
            raise RequestError(f"--out {self.out} is a file", "name a folder")
        return folder
