"""`soundloom train`: train or fine-tune a model, stage by stage."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.cli.opening import confirmation, open_named
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.model import DeviceOptions
from soundloom.cli.options.output import QuietOptions
from soundloom.cli.options.shared import out_flag, precision_flag, work_flag
from soundloom.cli.terminal.logs import info_to_stderr
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.training_progress import Stop, progress
from soundloom.errors import RequestError
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.training.init.pretrained import PretrainedModel
    from soundloom.training.loop.distributed import Distributed
    from soundloom.training.recipe import RunDirectory
    from soundloom.training.stages.context import StageContext

log = logging.getLogger(__name__)

# The name of each stage in the recipe and in the run folder.
FILES = {
    "tokenizer": "tokenizer",
    "autoencoder": "autoencoder",
    "encode": "encode",
    "text": "text",
    "dit": "dit",
    "distill": "distill",
    "post": "post",
    "instruct": "instruct",
}
EXPORT = "export"
RESULTS = ("dit", "distill", "post")  # stages whose result is a complete model
UNFINISHED, STOPPED = 3, 130  # exit codes


@dataclass(frozen=True)
class DistributedOptions(DeviceOptions):
    """Model and device."""

    precision: Literal["fp32", "bf16"] = precision_flag(
        default="fp32", choices=("fp32", "bf16"), help="bf16 trains with autocast"
    )
    threads: int = flag("--threads", default=0, type=int, metavar="N", help="CPU threads (default: PyTorch's choice)")
    recompute: bool = switch("--recompute", help="gradient checkpointing: less memory, about a third more time")
    compile: bool = switch("--compile", help="compile the transformer blocks with torch.compile")
    shard: bool = switch("--shard", help="shard weights and optimizer state over the processes (FSDP2)")


_MACHINE_FIELDS = tuple(field.name for field in fields(DistributedOptions))


@dataclass(frozen=True)
class Options(DistributedOptions, QuietOptions):
    """Run one stage of a training recipe, a folder of TOML files such as configs/mini.

    The stages of a Stable Audio model run in this order: tokenizer, autoencoder, encode, text, dit, distill, post,
    export. An interrupted stage resumes bit-exactly.

    To train an editor for `soundloom edit`, run the stages instruct, with --from musicgen-small, and export.

    To train on several devices, start the command with `torchrun --nproc-per-node N -m soundloom train ...`.
    """

    stage: str = flag(metavar="STAGE", help=f"{', '.join(FILES)}, or {EXPORT}")
    recipe: str = flag(metavar="RECIPE", help="a folder of TOML files")
    run_dir: str | None = work_flag(help="run folder for checkpoints, logs, and results of the stages")
    pretrained: str | None = flag(
        "--from",
        metavar="MODEL",
        help="start from this pretrained model: a name, folder, or file; later stages use it too",
    )
    changes: Sequence[str] = flag(
        "--set",
        default=(),
        action="append",
        metavar="KEY=VALUE",
        help="override a value of the stage's TOML file, such as loop.steps=100; repeatable",
    )
    minutes: float = flag(
        "--minutes", default=math.inf, type=float, metavar="N", help="stop after this time; run again to continue"
    )
    resume: bool = switch("--resume", help="fail unless there is a run to resume (resuming is the default)")
    restart: bool = switch("--restart", help="discard the progress of this stage and start over")
    out: str | None = out_flag(metavar="FOLDER", help="where to export the model")
    result_of: str | None = flag(
        "--result-of",
        metavar="STAGE",
        help="the stage whose model to export: dit, distill, or post (default: the last in the recipe)",
    )


def run(options: Options) -> int:
    folder = _checked_run_dir(options)
    with info_to_stderr(quiet=options.quiet):
        from soundloom.training.loop.distributed import DistributedConfig, init_distributed
        from soundloom.training.recipe import RunDirectory

        distributed = init_distributed(DistributedConfig(**{name: getattr(options, name) for name in _MACHINE_FIELDS}))
        try:
            run_dir = RunDirectory(folder)
            if options.stage == EXPORT:  # reads only finished files, so it needs no lock
                return _export(options, run_dir, distributed)
            with run_dir.locked() if distributed.is_main else nullcontext():
                return _train(options, run_dir, distributed)
        finally:
            distributed.close()


def _checked_run_dir(options: Options) -> Path:
    """Return the run folder. Raises RequestError for invalid options, before PyTorch is imported."""
    if options.stage not in (*FILES, EXPORT):
        raise RequestError(f"there is no stage {options.stage!r}", f"stages: {', '.join(FILES)}, {EXPORT}")
    if options.run_dir is None:
        raise RequestError("training needs a run folder", "for example --work run")
    if options.stage == EXPORT and options.out is None:
        raise RequestError("export needs an output folder", "for example --out model")
    if options.stage != EXPORT and (options.out or options.result_of):
        raise RequestError("only export takes --out and --result-of", "other stages write to the run folder --work")
    if options.result_of not in (None, *RESULTS):
        raise RequestError(f"--result-of {options.result_of} has no model to export", f"stages: {', '.join(RESULTS)}")
    if options.changes and options.stage in ("encode", EXPORT):
        raise RequestError(f"{options.stage} has no TOML file for --set to override", "edit the files of the recipe")
    if options.resume and options.restart:
        raise RequestError("--resume and --restart contradict each other")
    if options.minutes <= 0 or options.threads < 0:
        raise RequestError("--minutes must be above 0, and --threads 0 or more")
    folder = expanded(options.run_dir)
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--work {folder} is not a folder")
    return folder


def _train(options: Options, run_dir: RunDirectory, distributed: Distributed) -> int:
    name = FILES[options.stage]
    if options.resume and not run_dir.has_begun(name):
        raise RequestError(f"there is no {options.stage} run in {run_dir.folder} to resume", "leave out --resume")
    is_outdated = distributed.any_rank(run_dir.is_outdated(name) and not options.resume)
    if is_outdated:
        log.info("%s starts over, because an earlier stage was trained again", options.stage)
    for earlier in [] if options.restart else run_dir.renewed(name):
        log.warning("%s is older than the results of %s; use --restart to train it again", options.stage, earlier)
    stop = Stop(options.minutes)
    context = _context(
        options,
        run_dir,
        distributed,
        anew=options.restart or is_outdated,
        callbacks=lambda name: [stop, *progress(name, quiet=options.quiet)],
        until=lambda: stop.wished,
    )
    done = _stage(options.stage, context)()
    if distributed.is_main:
        _report(done, options, run_dir)
    return 0 if done else STOPPED if stop.interrupted else UNFINISHED


def _stage(stage: str, context: StageContext) -> Callable[[], bool]:
    """Return a function that runs a stage until it finishes or stops. Raises RequestError."""
    from soundloom.training.stages.context import StableAudioContext
    from soundloom.training.stages.instruct_job import InstructContext, train_editor
    from soundloom.training.stages.stages import STAGES

    if isinstance(context, StableAudioContext):
        return partial(STAGES[stage], context)
    if stage != "instruct" or not isinstance(context, InstructContext):
        raise RequestError(f"train {stage} is for Stable Audio models", "MusicGen has only the stage instruct")
    return partial(train_editor, context)


def _report(done: bool, options: Options, run_dir: RunDirectory) -> None:
    if done:
        print_results([str(run_dir.result(FILES[options.stage]))])
    else:
        log.info("%s is not finished; run the same command to resume", options.stage)


def _export(options: Options, run_dir: RunDirectory, distributed: Distributed) -> int:
    from soundloom.training.stages.context import StableAudioContext
    from soundloom.training.stages.export import require_replaceable
    from soundloom.training.stages.instruct_job import InstructContext, export_editor
    from soundloom.training.stages.stages import export_model

    assert options.out is not None
    out = expanded(options.out)
    require_replaceable(out)
    context = _context(options, run_dir, distributed)
    if isinstance(context, InstructContext):
        if options.result_of:
            raise RequestError("an editor has only the stage instruct", "leave out --result-of")
        export_editor(context, out)
    elif isinstance(context, StableAudioContext):
        export_model(context, out, FILES.get(options.result_of or ""))
    print_results([str(out)])
    return 0


def _context(options: Options, run_dir: RunDirectory, distributed: Distributed, **more: Any) -> StageContext:
    """Return the context of a stage; `more` are further fields of it."""
    from soundloom.training.recipe import Recipe
    from soundloom.training.stages.context import StableAudioContext
    from soundloom.training.stages.instruct_job import InstructContext

    common: dict[str, Any] = {
        "recipe": Recipe(Path(options.recipe), FILES.get(options.stage, ""), options.changes),
        "run_dir": run_dir,
        "distributed": distributed,
        **more,
    }
    pretrained = _pretrained(options.pretrained, run_dir)
    context: StageContext
    if isinstance(pretrained, MusicGenCheckpoint):
        context = InstructContext(**common, checkpoint=pretrained)
    elif options.stage == "instruct":
        raise RequestError("train instruct needs a MusicGen model", "for example --from musicgen-small")
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
