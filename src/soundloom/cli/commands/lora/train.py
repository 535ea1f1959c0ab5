"""`soundloom lora train`: train an adapter on captioned sounds."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from soundloom.cli.loading import confirmation, known_model, open_named
from soundloom.cli.lora_data import dry_run_lines, report_warnings, require_outside
from soundloom.cli.lora_engines import TrainingEngine, training_engine
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.lora_training import LoraTrainingOptions
from soundloom.cli.options.model import EngineOptions, LicenseOptions
from soundloom.cli.options.output import QuietOptions
from soundloom.cli.options.shared import bases_flag, compat_flag, model_flag, out_flag, precision_flag
from soundloom.cli.options.training import ComputeOptions, RunOptions
from soundloom.cli.terminal.logs import info_to_stderr
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.training_progress import SaveSignal, Stop, progress
from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError
from soundloom.folders import expanded
from soundloom.lora.files.find import find_adapter
from soundloom.lora.files.read import read_adapter
from soundloom.training.lora.folder import RunFolder

if TYPE_CHECKING:
    from soundloom.checkpoints.stable_audio.open import Checkpoint
    from soundloom.pipeline.stable_audio.model import Model
    from soundloom.training.lora.config import LoraConfig
    from soundloom.training.lora.plan import Checked, RunPlan

log = logging.getLogger(__name__)

UNFINISHED, INTERRUPTED = 3, 130  # exit codes


@dataclass(frozen=True)
class Options(LoraTrainingOptions, RunOptions, EngineOptions, ComputeOptions, LicenseOptions, QuietOptions):
    """Train a LoRA adapter on a folder of sounds with captions, or of latents.

    The caption of NAME.wav is in NAME.txt, or in NAME.json, a metadata.csv, or the tags of the file; `soundloom lora
    check` shows what is found. Train on a base model: the adapter also works with its post-trained one. An interrupted
    run resumes with identical results; SIGUSR1 saves at once.

    soundloom lora train sounds --model small-music-base --out style

    `--engine mlx` trains on MLX, which needs no PyTorch. To train on several devices with PyTorch, start the command
    with `torchrun --nproc-per-node N -m soundloom lora train ...`.
    """

    data: str = flag(metavar="DATA", help="a folder of sounds or latents, or .tar shards")
    model: str = model_flag(
        required=True, hidden=("--dit-weights",), help="a base model: a name from `soundloom models`, a folder, or file"
    )
    out: str = out_flag(
        required=True,
        hidden=("--save-dir",),
        metavar="FOLDER",
        help="of adapters, caches, logs, and previews",
    )
    precision: Literal["auto", "fp32", "bf16"] = precision_flag(
        default="auto",
        hidden=("--base-precision",),
        choices=("auto", "fp32", "bf16"),
        help="of the frozen weights; the adapter is always float32",
    )
    start: str | None = flag(
        "--start-from",
        hidden=("--lora-checkpoint", "--lora-ckpt-path"),
        metavar="FILE",
        help="train this adapter further, with a new optimizer",
    )
    bases: str | None = bases_flag(help="singular vectors of the model, for -xs types")
    compat: bool = compat_flag(default=False, action="store_true", help="the published handling of padding and decay")
    force: bool = switch("--force", help="train on a post-trained model")
    dry_run: bool = switch("--dry-run", help="check the data, and print what the run needs")


def run(options: Options) -> int:
    options.check_run()
    _require_trainable(options)
    require_outside(expanded(options.out), options.data)
    checkpoint = open_named(options.model, options.accept_license)
    config = _config(options, checkpoint)
    from soundloom.training.lora.setup import generative_config

    with info_to_stderr(quiet=options.quiet):
        data, held_out = _checked_data(options, config, checkpoint)
        with training_engine(options, generative_config(checkpoint).dit.embed_dim) as engine:
            if options.dry_run:
                half = engine.precision == "bf16"
                speed = engine.matmul_speed()
                print_results(dry_run_lines(config, checkpoint, data[1], half, options.recompute, speed))
                return 1 if data[1].errors else 0
            data[1].require_usable()
            folder = RunFolder(expanded(options.out), config.name)
            with folder.locked() if engine.is_main else nullcontext():
                return _train(options, _plan(options, config, checkpoint, folder, (data, held_out), engine), engine)


def _require_trainable(options: Options) -> None:
    """Raise RequestError for a model that should not be trained on, before it is downloaded."""
    name, config = known_model(options.model)
    if not isinstance(config, ModelConfig):
        raise RequestError(f"{name} is not a Stable Audio model that generates", "name one that does")
    entry = find_entry(name)
    has_base = entry is None or find_entry(f"{entry.name}-base") is not None
    if config.is_distilled and has_base and not options.force:
        base = f"{entry.name}-base" if entry else "its base model"
        raise RequestError(
            f"{options.model} is post-trained for few steps, and an adapter that is trained on it sounds worse",
            f"train on {base} and use the adapter with both, or insist with --force",
        )


def _config(options: Options, checkpoint: Checkpoint) -> LoraConfig:
    """Return the configuration. Raises RequestError for invalid options, before PyTorch is imported."""
    from soundloom.training.lora.setup import generative_config

    model = generative_config(checkpoint)
    return options.config(model.sample_rate / model.same.downsampling_ratio, model.max_seconds, options.compat)


def _checked_data(options: Options, config: LoraConfig, checkpoint: Checkpoint) -> tuple[Checked, Checked | None]:
    from soundloom.training.lora.setup import check, generative_config

    model = generative_config(checkpoint)
    data = check(options.data, model, config.data.batch_size, options.skip_faulty)
    report_warnings(data[1])
    if options.held_out is None or options.held_out_count is not None:
        return data, None
    held_out = check(options.held_out, model, 1, options.skip_faulty)
    held_out[1].require_usable()
    return data, held_out


def _plan(
    options: Options,
    config: LoraConfig,
    checkpoint: Checkpoint,
    folder: RunFolder,
    data: tuple[Checked, Checked | None],
    engine: TrainingEngine,
) -> RunPlan:
    from soundloom.pipeline.load import load_stable_audio
    from soundloom.training.lora.plan import RunPlan
    from soundloom.training.lora.setup import Encoder

    def load_encoder() -> Model:
        return load_stable_audio(
            options.model,
            confirmation(),
            engine=engine.name,
            device=engine.device,
            precision="fp32",
            keep_loaded=True,
        )

    start = read_adapter(find_adapter(options.start)) if options.start else None
    bases = expanded(options.bases) if options.bases else None
    return RunPlan(checkpoint, config, folder, Encoder(load_encoder), *data, start=start, bases=bases)


def _train(options: Options, plan: RunPlan, engine: TrainingEngine) -> int:
    folder = plan.folder
    if options.resume and not folder.has_started:
        raise RequestError(f"there is no run in {folder.folder} to resume", "leave out --resume")
    if options.restart and engine.is_main:
        folder.discard()
    engine.wait()  # for the removal
    stop, save = Stop(options.minutes), SaveSignal()
    callbacks = [stop, save, *progress(plan.config.name, quiet=options.quiet)]
    finished = engine.train(plan, callbacks, lambda: stop.requested, save.take)
    if engine.is_main:
        print_results([str(path) for path in list(folder.adapters().values())[-1:]])
        if not finished:
            log.info("%s is not finished; run the same command to resume", plan.config.name)
    return 0 if finished else INTERRUPTED if stop.interrupted else UNFINISHED
