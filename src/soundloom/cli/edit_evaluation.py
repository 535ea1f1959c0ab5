"""Run the evaluation of edits with the options of `soundloom eval edits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from soundloom.atomic import make_folder
from soundloom.cli.loading import confirmation, named_entry
from soundloom.cli.measuring import CLIPS
from soundloom.cli.options.edits import EditsOptions
from soundloom.cli.terminal.counting import counter

if TYPE_CHECKING:
    from soundloom.evaluation.edits.embedding import SpanEmbedder
    from soundloom.evaluation.edits.sources import Sources
    from soundloom.evaluation.reports.record import Report
    from soundloom.evaluation.sets.manifest import SoundSet
    from soundloom.pipeline.musicgen.model import MusicModel
    from soundloom.pipeline.stable_audio.model import Model

INT4 = "int4"
FALLBACK = "log-mel"
SAVED_SEED = 1  # whose clips are saved beside a report

Audio = dict[tuple[str, int | None], Path]


def read_sounds(source: str) -> SoundSet:
    """Read a set of sounds. Raises RequestError or CorruptFileError."""
    from soundloom.evaluation.sets.manifest import read_set

    return read_set(source)


def evaluate_sound_edits(
    options: EditsOptions, sounds: SoundSet | None, embed: SpanEmbedder, folder: Path | None
) -> tuple[Report, Audio]:
    """Evaluate the edits of a Stable Audio model; clips of the first seed are saved to the folder."""
    from soundloom.evaluation.edits.evaluate import EditsConfig, evaluate_edits

    default = EditsConfig()
    config = EditsConfig(
        tuple(options.gaps) or default.gaps,
        default.places,
        tuple(options.levels) or default.levels,
        options.seeds or default.seeds,
        options.steps,
        options.part_names,
        tuple(options.precisions),
    )
    model = _load_model(options, options.precision)
    subject = {
        "model": model.name,
        "sha256": model.checkpoint.fingerprint,
        "engine": model.engine.name,
        "device": model.engine.device,
        "precision": model.engine.precision,
        **({"steps": options.steps} if options.steps else {}),
    }
    saver = ClipSaver(folder)
    report = evaluate_edits(
        model,
        _sources(options, sounds, model),
        config,
        embed,
        subject,
        lambda precision: _load_model(options, precision),
        progress(options.quiet),
        saver.save,
    )
    return report, saver.saved


def evaluate_music_edits(
    options: EditsOptions, sounds: SoundSet | None, embed: SpanEmbedder, folder: Path | None
) -> tuple[Report, Audio]:
    """Evaluate edits by instruction; clips of the first seed are saved to the folder."""
    from soundloom.evaluation.edits.evaluate_music import InstructionConfig, evaluate_instructions
    from soundloom.evaluation.edits.instructions import INSTRUCTIONS
    from soundloom.evaluation.edits.sources import read_sources, rendered_music

    count, seconds = options.sources or 1, options.seconds or 1.0
    sources = read_sources(sounds, count, seconds) if sounds else rendered_music(count, seconds)
    precisions = tuple(options.precisions) or (options.precision,)
    config = InstructionConfig(
        precisions,
        tuple(options.instructions) or INSTRUCTIONS,
        options.seeds or 1,
        options.window,
        "fp32" if options.precisions and not options.no_fp32 else None,
    )
    saver = ClipSaver(folder)

    @contextmanager
    def load(precision: str) -> Iterator[MusicModel]:
        with opened_editor(options, precision) as model:
            yield model

    report = evaluate_instructions(load, sources, config, embed, progress(options.quiet), saver.save)
    return report, saver.saved


class ClipSaver:
    """Saves clips of the first seed into the folder of a report, if there is one; `saved` are their paths."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.saved: Audio = {}

    def save(self, name: str, seed: int, audio: np.ndarray, rate: int) -> None:
        if self._folder is None or seed != SAVED_SEED or not np.isfinite(audio).all():
            return
        from soundloom.audio.write import write_audio

        make_folder(self._folder / CLIPS)
        path = self._folder / CLIPS / f"{len(self.saved):05d}.flac"
        write_audio(path, np.clip(audio, -1, 1), rate)
        self.saved[name, seed] = path


def progress(quiet: bool) -> Callable[[str, int, int], None]:
    """Return a function that shows how many clips of a part are done."""
    counters: dict[str, Callable[[int, int], None]] = {}

    def show(part: str, done: int, total: int) -> None:
        counters.setdefault(part, counter(part, quiet))(done, total)

    return show


def _sources(options: EditsOptions, sounds: SoundSet | None, model: Model) -> Sources:
    from soundloom.evaluation.edits.sources import read_sources, rendered_sources
    from soundloom.evaluation.synthetic.evaluate import CODEC_SEED, EvaluationConfig

    count, seconds = options.sources or 1, min(options.seconds or 1.0, model.config.max_seconds)
    if sounds:
        return read_sources(sounds, count, seconds)
    prompts = EvaluationConfig(seconds=seconds).for_model(model).sample_prompts(count, CODEC_SEED)
    return rendered_sources(prompts, seconds)


def _download(options: EditsOptions) -> dict[str, Any]:
    return {
        "engine": options.engine,
        "device": options.device,
        "threads": options.threads,
        "revision": options.revision,
        "offline": options.offline,
        "accept_license": options.accept_license,
    }


def _load_model(options: EditsOptions, precision: str) -> Model:
    from soundloom.pipeline.load import load_stable_audio

    return load_stable_audio(
        options.model_name,
        confirmation(),
        precision=precision,
        keep_loaded=True,
        keep_bad=True,  # unusable clips are measured and counted
        **_download(options),
    )


@contextmanager
def opened_editor(options: EditsOptions, precision: str) -> Iterator[MusicModel]:
    """Load an editor; for int4 the published one of a name in the catalogue, else the folder's weights, packed."""
    from soundloom.pipeline.load import load_music

    settings = {**_download(options), "keep_loaded": True, "keep_bad": True}
    name = options.model_name
    if precision != INT4:
        yield load_music(name, confirmation(), precision=precision, **settings)
    elif named_entry(name):
        yield load_music(f"{name.partition('@')[0]}@{INT4}", confirmation(), precision="auto", **settings)
    else:
        with TemporaryDirectory(prefix="soundloom-int4-") as folder:
            _pack(name, Path(folder))
            yield load_music(folder, None, precision="auto", **settings)


def _pack(name: str, folder: Path) -> None:
    """Write an editor with its language model packed to 4 bits, as the published one is."""
    from soundloom.checkpoints.musicgen.fetch import open_music
    from soundloom.checkpoints.musicgen.save import lm_bits, pack_lm, save_musicgen
    from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE

    full = open_music(name)
    bits = lm_bits(full.tensors, 4, DEFAULT_GROUP_SIZE)
    save_musicgen(folder, full.config, pack_lm(full.tensors, bits, DEFAULT_GROUP_SIZE), full.tokenizer)
