"""`soundloom quantize`: quantize a model, and report the error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from soundloom.atomic import atomic_folder, write_json
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.stable_audio.convert import require_empty_or_same
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.cli.loading import confirmation, open_named
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.model import DeviceOptions, EngineOptions, GroupSizeOptions, LicenseOptions
from soundloom.cli.options.output import JsonOptions, QuietOptions
from soundloom.cli.options.shared import prompts_flag
from soundloom.cli.terminal.progress import ProgressDisplay
from soundloom.cli.terminal.results import print_results
from soundloom.engines.registry import engine_class, music_engine_class, require_device, use_threads
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.progress import ProgressCallback
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.musicgen import quantize_music
from soundloom.quantization.policy import POLICIES
from soundloom.quantization.quantize import QuantizationConfig, quantize_model
from soundloom.quantization.report import QuantizationReport

REPORT_FILE = "quantization.json"


@dataclass(frozen=True)
class Options(GroupSizeOptions, EngineOptions, DeviceOptions, LicenseOptions, JsonOptions, QuietOptions):
    """Quantize a model's transformer, or MusicGen's language model, to 4, 8, or mixed bits.

    Mixed bits are chosen by each layer's sensitivity, measured with one run of the model per layer. Prints size and
    error against the original, and saves both to OUT/quantization.json.
    """

    model: str = flag(metavar="MODEL", help="a name from `soundloom models`, a folder, or a file")
    out: str = flag(metavar="OUT", help="a new or empty folder")
    bits: str = flag("--bits", default="4", choices=POLICIES, help="bits per weight")
    calibrate: bool = switch("--calibrate", help="quantize with GPTQ; the report compares it with rounding to nearest")
    prompts: int = prompts_flag(default=0, help="also compare both models on held-out prompts (mini only; default: 0)")


def run(options: Options) -> None:
    config = QuantizationConfig(options.bits, options.group_size, options.calibrate, options.prompts)
    folder = Path(options.out)
    require_empty_or_same(folder)
    use_threads(options.engine, options.threads)
    require_device(options.engine, options.device)
    full = _open(options)
    provenance = {"command": "quantize", "from": full.fingerprint, **asdict(config)}
    require_empty_or_same(folder, provenance)
    with ProgressDisplay(quiet=options.quiet) as progress, atomic_folder(folder) as new:
        if isinstance(full, MusicGenCheckpoint):
            report = _quantize_music(options, full, new, config, progress)
        else:
            report = _quantize(options, full, new, config, progress)
        write_json(new / REPORT_FILE, asdict(report))
        write_hashes(new, provenance)
    print_results({"folder": options.out, **asdict(report)} if options.json else [options.out, *report.lines()])


def _open(options: Options) -> Checkpoint | MusicGenCheckpoint:
    if is_music(options.model):
        return open_music(options.model, accept_license=options.accept_license, confirm=confirmation())
    return open_named(options.model, accept_license=options.accept_license)


# Both measure in fp32, so that the weights are the only source of error.


def _quantize(
    options: Options, full: Checkpoint, folder: Path, config: QuantizationConfig, progress: ProgressCallback
) -> QuantizationReport:
    engine = engine_class(options.engine)

    def on_engine(other: Checkpoint) -> Model:
        return Model(other, engine(other, options.device, "fp32"), keep_loaded=True)

    return quantize_model(full, folder, config, on_engine, progress)


def _quantize_music(
    options: Options,
    full: MusicGenCheckpoint,
    folder: Path,
    config: QuantizationConfig,
    progress: ProgressCallback,
) -> QuantizationReport:
    engine = music_engine_class(options.engine)

    def on_engine(other: MusicGenCheckpoint) -> MusicModel:
        return MusicModel(other, engine(other, options.device, "fp32"), keep_loaded=True)

    return quantize_music(full, folder, config, on_engine, progress)
