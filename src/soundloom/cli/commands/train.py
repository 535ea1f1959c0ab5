"""`soundloom train`: train or fine-tune a model, stage by stage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.cli.loading import confirmation, open_named
from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import QuietOptions
from soundloom.cli.options.shared import out_flag, work_flag
from soundloom.cli.options.training import DistributedOptions, RunOptions
from soundloom.cli.terminal.logs import info_to_stderr
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.training_progress import Stop, progress
from soundloom.engines.threads import import_torch
from soundloom.errors import RequestError
from soundloom.folders import expanded
from soundloom.training.stages.registry import EXPORT, EXPORTABLE, STAGES

if TYPE_CHECKING:
    from soundloom.training.init.pretrained import PretrainedModel
    from soundloom.training.loop.distributed import Distributed
    from soundloom.training.run_directory import RunDirectory
    from soundloom.training.stages.context import StageContext

log = logging.getLogger(__name__)

UNFINISHED, INTERRUPTED = 3, 130  # exit codes


@dataclass(frozen=True)
class Options(DistributedOptions, RunOptions, QuietOptions):
    """Run one stage of a training recipe, a folder of TOML files such as configs/mini.

    Run the stages of a Stable Audio model in the order below, then export. An interrupted stage resumes with identical
    results.

    To train an editor for `soundloom edit`, run `train instruct ... --from musicgen-small`, then `train export`.

    To train on several devices, start the command with `torchrun --nproc-per-node N -m soundloom train ...`.
    """

    stage: str = flag(metavar="STAGE", help=f"{', '.join(STAGES)}, or {EXPORT}")
    recipe: str = flag(metavar="RECIPE", help="a folder of TOML files")
    run_dir: str = work_flag(required=True, help="run directory for checkpoints, logs, and results of the stages")
    pretrained: str | None = flag(
        "--from",
        metavar="MODEL",
        help="start from this pretrained model: a name, folder, or file; later stages use it too",
    )
    overrides: Sequence[str] = flag(
        "--set",
        default=(),
        action="append",
        metavar="KEY=VALUE",
        help="override a value of the stage's TOML file, such as loop.steps=100; repeatable",
    )
    out: str | None = out_flag(metavar="FOLDER", help="where to export the model")
    result_of: str | None = flag(
        "--result-of",
        metavar="STAGE",
        help=f"the stage whose model to export: {', '.join(EXPORTABLE)} (default: the last in the recipe)",
    )


def run(options: Options) -> int:
    folder = _checked_run_dir(options)
    with info_to_stderr(quiet=options.quiet):
        import_torch()
        from soundloom.training.loop.distributed import DistributedConfig, init_distributed
        from soundloom.training.run_directory import RunDirectory

        names = [field.name for field in fields(DistributedOptions)]
        distributed = init_distributed(DistributedConfig(**{name: getattr(options, name) for name in names}))
        try:
            run_dir = RunDirectory(folder)
            if options.stage == EXPORT:  # reads only finished files, so it needs no lock
                return _export(options, run_dir, distributed)
            with run_dir.locked() if distributed.is_main else nullcontext():
                return _train(options, run_dir, distributed)
        finally:
            distributed.close()


def _checked_run_dir(options: Options) -> Path:
    """Return the run directory. Raises RequestError for invalid options, before PyTorch is imported."""
    if options.stage not in (*STAGES, EXPORT):
        raise RequestError(f"there is no stage {options.stage!r}", f"stages: {', '.join(STAGES)}, {EXPORT}")
    if options.stage == EXPORT and options.out is None:
        raise RequestError("export needs an output folder", "for example --out model")
    if options.stage != EXPORT and (options.out or options.result_of):
        raise RequestError("only export takes --out and --result-of", "other stages write to the run directory --work")
    if options.result_of not in (None, *EXPORTABLE):
        raise RequestError(
            f"--result-of {options.result_of} has no model to export", f"stages: {', '.join(EXPORTABLE)}"
        )
    if options.overrides and (options.stage == EXPORT or STAGES[options.stage].config is None):
        raise RequestError(f"{options.stage} has no TOML file for --set to override", "edit the files of the recipe")
    options.check_run()
    folder = expanded(options.run_dir)
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--work {folder} is not a folder")
    return folder


def _train(options: Options, run_dir: RunDirectory, distributed: Distributed) -> int:
    name = options.stage
    if options.resume and not run_dir.has_started(name):
        raise RequestError(f"there is no {name} run in {run_dir.folder} to resume", "leave out --resume")
    must_restart = distributed.any_rank(run_dir.must_restart(name) and not options.resume)
    if must_restart:
        log.info("%s starts over, because an earlier stage was trained again", name)
    for source in [] if options.restart else run_dir.changed_reads(name):
        log.warning("%s is older than the results of %s; use --restart to train it again", name, source)
    stop = Stop(options.minutes)
    context = _context(
        options,
        run_dir,
        distributed,
        restart=options.restart or must_restart,
        callbacks=lambda stage: [stop, *progress(stage, quiet=options.quiet)],
        until=lambda: stop.requested,
    )
    is_finished = context.run(name)
    if distributed.is_main:
        if is_finished:
            print_results([str(run_dir.result(name))])
        else:
            log.info("%s is not finished; run the same command to resume", name)
    return 0 if is_finished else INTERRUPTED if stop.interrupted else UNFINISHED


def _export(options: Options, run_dir: RunDirectory, distributed: Distributed) -> int:
    from soundloom.training.stages.context import StableAudioContext
    from soundloom.training.stages.export import export_model, require_replaceable
    from soundloom.training.stages.instruct import InstructContext, export_editor

    assert options.out is not None
    out = expanded(options.out)
    require_replaceable(out)
    context = _context(options, run_dir, distributed)
    if isinstance(context, StableAudioContext):
        export_model(context, out, options.result_of)
    elif isinstance(context, InstructContext):
        if options.result_of:
            raise RequestError("an editor has only the stage instruct", "leave out --result-of")
        export_editor(context, out)
    print_results([str(out)])
    return 0


def _context(options: Options, run_dir: RunDirectory, distributed: Distributed, **fields: Any) -> StageContext:
    """Return the context of the model's family. Raises RequestError where the stage does not suit the model."""
    from soundloom.training.recipe import Recipe
    from soundloom.training.stages.context import StableAudioContext
    from soundloom.training.stages.instruct import InstructContext

    recipe = Recipe(Path(options.recipe), options.stage, options.overrides)
    common: dict[str, Any] = {"recipe": recipe, "run_dir": run_dir, "distributed": distributed, **fields}
    pretrained = _pretrained(options.pretrained, run_dir)
    is_musicgen = isinstance(pretrained, MusicGenCheckpoint)
    if options.stage != EXPORT:
        STAGES[options.stage].require_suitable("musicgen" if is_musicgen else "stable_audio", pretrained is not None)
    context: StageContext
    if isinstance(pretrained, MusicGenCheckpoint):
        context = InstructContext(**common, checkpoint=pretrained)
    else:
        context = StableAudioContext(**common, pretrained=pretrained)
    if distributed.is_main:
        run_dir.require_model(context.model)
    return context


def _pretrained(name: str | None, run_dir: RunDirectory) -> PretrainedModel | MusicGenCheckpoint | None:
    """Return the named pretrained model, or the one that this run started from."""
    known = run_dir.pretrained
    model = name or (known["model"] if known else None)
    if model is None:
        return None
    from soundloom.training.init.pretrained import PretrainedModel

    checkpoint = open_music(model, confirm=confirmation()) if is_music(model) else open_named(model)
    pretrained = checkpoint if isinstance(checkpoint, MusicGenCheckpoint) else PretrainedModel(checkpoint)
    run_dir.require_pretrained(model, checkpoint.fingerprint)
    return pretrained
