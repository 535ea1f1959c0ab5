"""Execute the plan of a command: check the output files, load the model, save each clip, print a summary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.loading import open_with
from soundloom.cli.options.generation import GenerationOptions, MusicOptions
from soundloom.cli.options.unused_flags import warn_of_unused_flags
from soundloom.cli.outputs import output_paths, require_finish, warn_of_changes
from soundloom.cli.saving import Saver
from soundloom.cli.served import ServedModel
from soundloom.cli.terminal.progress import ClipDisplay
from soundloom.errors import OutputError
from soundloom.pipeline.musicgen.plan import PlannedMusic
from soundloom.pipeline.plan import Plan
from soundloom.pipeline.stable_audio.plan import PlannedClip

log = logging.getLogger(__name__)


def execute(
    plan: Plan[PlannedClip] | Plan[PlannedMusic],
    options: GenerationOptions | MusicOptions,
    files: Mapping[Clip, Path],
    expected_hash: str | None = None,
    with_residual: bool = False,
) -> None:
    """Generate the clips of a plan, save each one when it is finished, and print its path.

    `files` are the paths of edited clips, `expected_hash` is the hash of the weights that generated a clip to repeat.
    `with_residual` also saves what each edit removed.
    """
    options.check_tempo()
    signer = options.signer()
    paths = output_paths(plan.clips, options, options.model_name, files, with_residual)
    require_finish(plan.clips, options)
    saver = Saver(plan.clips, paths, options, with_residual)
    first = plan.clips[0]
    warn_of_changes(first, paths[0], options)
    warn_of_unused_flags(options, first.request, paths[0])

    served = ServedModel.of(options) if options.server is not None else None  # or an error before any work
    picks = options.pick is not None
    with ClipDisplay(len(paths), quiet=options.quiet, json=options.json, picks=picks, signer=signer) as display:
        for notice in plan.notices:
            display.print(notice)
        model = served or _load(options, is_music=isinstance(first, PlannedMusic), expected_hash=expected_hash)
        failure: OutputError | None = None
        try:
            for index, clip in model.execute(plan, progress=display):
                if served is not None and expected_hash is not None:
                    _compare_weights(expected_hash, clip.record.get("model_hash"), served.name)
                    expected_hash = None
                saver.add(index, clip, display)
        except OutputError as error:
            failure = error
        saver.finish(display, failure)
        display.finish()
        if options.play:
            _play(display.files)


def _load(options: GenerationOptions | MusicOptions, *, is_music: bool, expected_hash: str | None) -> Any:
    """Load the model that the flags name."""
    from soundloom.pipeline.load import load_music, load_stable_audio

    load: Callable[..., Any] = load_music if is_music else load_stable_audio
    model = open_with(load, options, options.transformer_precision, not options.free_models, options.keep_bad)
    if expected_hash is not None:
        _compare_weights(expected_hash, model.checkpoint.fingerprint, model.name)
    return model


def _compare_weights(expected: str, found: str | None, name: str) -> None:
    if found != expected:
        log.warning("the weights of %s are not those that generated the file; the result will differ", name)


def _play(files: list[str]) -> None:
    from soundloom.audio.playback import play

    for path in files:
        play(StreamedClip.open(path))  # as loud as the file is, which --lufs may have changed
