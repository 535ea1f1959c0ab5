"""`soundloom eval edits`: evaluate edits of sounds."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from soundloom.cli.edit_evaluation import (
    FALLBACK,
    INT4,
    evaluate_music_edits,
    evaluate_sound_edits,
    read_sounds,
)
from soundloom.cli.loading import known_model
from soundloom.cli.measuring import finish_report
from soundloom.cli.options.edits import (
    MUSIC_SECONDS,
    MUSIC_SEEDS,
    MUSIC_SOURCES,
    PARTS,
    SECONDS,
    SEEDS,
    SOURCES,
    EditsOptions,
)
from soundloom.cli.options.shared import PRECISIONS, require_length
from soundloom.cli.terminal.logs import at_level
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import EngineError, ModelNotFoundError, RequestError, shown
from soundloom.evaluation.recipes import DEFAULT_RECIPE

if TYPE_CHECKING:
    from soundloom.evaluation.edits.embedding import SpanEmbedder

_MUSIC_ONLY = ("instructions", "window", "no_fp32")
_SOUND_ONLY = ("steps", "parts", "gaps", "levels")


@dataclass(frozen=True)
class Options(EditsOptions):
    """Evaluate edits of sounds: what they keep, how audible their seams are, and how well new audio fits.

    A Stable Audio model regenerates regions, continues, loops and varies each sound. A MusicGen editor edits each by
    instruction. Without --sounds, the sounds are rendered.

    soundloom eval edits --sounds my-sounds --out report

    soundloom eval edits --model instruct-musicgen --precisions fp16 int8 int4 --recipe seed-clap
    """


def run(options: Options) -> int:
    _, config = known_model(options.model_name)
    is_music = isinstance(config, MusicGenConfig)
    if not (is_music or isinstance(config, ModelConfig)):
        raise RequestError(
            f"{options.model_name} is an autoencoder alone and cannot edit", "name mini, or leave it out"
        )
    options = _completed(options, is_music)
    options.chosen_recipe()
    sounds = read_sounds(options.sounds) if options.sounds else None
    folder, (embed, notes) = options.folder, _embedder(options)
    with at_level(logging.ERROR):  # warnings about single clips are part of the evaluation
        if isinstance(config, MusicGenConfig):
            report, audio = evaluate_music_edits(options, sounds, embed, folder)
        else:
            report, audio = evaluate_sound_edits(options, sounds, embed, folder)
    return finish_report(replace(report, notes=(*notes, *report.notes)), options, audio)


def _completed(options: Options, is_music: bool) -> Options:
    """Return the options with defaults of the model's family. Raises RequestError for values that make no sense."""
    wrong = _SOUND_ONLY if is_music else _MUSIC_ONLY
    if given := [name for name in wrong if getattr(options, name)]:
        family = "Stable Audio models" if is_music else "editors such as instruct-musicgen"
        flag_name = {"instructions": "instruction", "no_fp32": "no-fp32"}.get(given[0], given[0])
        raise RequestError(f"--{flag_name} is for {family}", "leave it out, or name another --model")
    sources, seconds, seeds = (MUSIC_SOURCES, MUSIC_SECONDS, MUSIC_SEEDS) if is_music else (SOURCES, SECONDS, SEEDS)
    options = replace(
        options,
        sources=options.sources if options.sources is not None else sources,
        seconds=options.seconds if options.seconds is not None else seconds,
        seeds=options.seeds if options.seeds is not None else seeds,
    )
    for name in ("sources", "seeds", "steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise RequestError(f"--{name} must be 1 or more, found {value}")
    require_length(options.seconds or 0.0)
    known = (*PRECISIONS, INT4) if is_music else PRECISIONS
    if unknown := [name for name in options.precisions if name not in known]:
        raise RequestError(f"no precision is named '{shown(unknown[0])}'", f"use {', '.join(known)}")
    if unknown := [name for name in options.part_names if name not in PARTS]:
        raise RequestError(f"there is no part '{shown(unknown[0])}'", f"parts: {', '.join(PARTS)}")
    if any(not gap > 0 for gap in options.gaps) or any(not 0 < level < 1 for level in options.levels):
        raise RequestError("--gaps must be above 0, and --levels between 0 and 1")
    return options


def _embedder(options: Options) -> tuple[SpanEmbedder, list[str]]:
    """Load the embedder, and return notes about it.

    Where nothing was chosen and the weights of the default are missing, an embedder without weights takes its place.
    """
    from soundloom.evaluation.edits.embedding import SpanEmbedder

    recipe = options.chosen_recipe()
    try:
        return SpanEmbedder(options.open_embedder(recipe, options.device), recipe), []
    except (RequestError, ModelNotFoundError, EngineError) as error:
        if options.embedder or options.recipe != DEFAULT_RECIPE:
            raise
        recipe = recipe.with_embedder(FALLBACK)
        note = f"the embedder is {FALLBACK}, which reads no captions: {error.args[0]}"
        return SpanEmbedder(options.open_embedder(recipe), recipe), [note]
