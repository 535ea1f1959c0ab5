"""`soundloom encode`: encode an audio file, or a dataset, to latents."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.atomic import atomic_path, make_folder, write_errors
from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.loading import named_entry, open_model
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.model import ModelOptions
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import out_flag
from soundloom.cli.outputs import named_or_free
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.streams import one_message
from soundloom.errors import AudioError, RequestError, printable, shown
from soundloom.temporary import remove_stale

if TYPE_CHECKING:
    from soundloom.datasets.encoding import Summary, Writer
    from soundloom.datasets.examples import Skipped
    from soundloom.pipeline.stable_audio.model import Model

log = logging.getLogger(__name__)

SHOWN = 20  # skipped files to list by name


@dataclass(frozen=True)
class Options(ModelOptions, JsonOptions):
    """Encode an audio file to latents with a model's autoencoder: an array (channels, frames) in a .npy file.

    With --dataset, encode a folder of audio files or .tar shards to the folder OUT. Run the command again to resume, or
    to encode new and changed files.
    """

    input: str = flag(metavar="IN", help="an audio file of any sample rate; with --dataset, a folder")
    folder: str | None = flag(metavar="OUT", nargs="?", help="with --dataset, the output folder")
    out: str | None = out_flag(help="output file (default: IN with the suffix .npy)")
    dataset: bool = switch("--dataset", help="encode all audio files in IN, with their captions, to OUT")
    format: str = flag(
        "--format",
        default="npy",
        choices=("npy", "webdataset"),
        help="with --dataset, write .npy files or .tar shards",
    )


def run(options: Options) -> int:
    if options.dataset:
        return _encode_dataset(options)
    if options.folder is not None:
        raise RequestError("OUT requires --dataset", "to name the output file, use -o FILE")
    from soundloom.datasets.latents import npy_bytes

    path = named_or_free(options.out, Path(options.input).with_suffix(".npy"))
    if path.suffix.lower() != ".npy":
        raise RequestError(f"latents are saved as .npy files, not as {shown(path.name)}", f"-o {path.stem}.npy")
    clip = StreamedClip.open(options.input)
    make_folder(path.parent)
    with atomic_path(path, overwrite=options.out is not None) as new:
        model = open_model(options)
        latents = model.encode(clip)
        _warn_of_loss(model, clip)
        with write_errors(path), new.open("wb") as file:
            # Not np.save: it writes past Python, and a full disk goes unnoticed.
            file.write(npy_bytes(latents))
    found = {"files": [str(path)], "shape": list(latents.shape), "seconds": clip.seconds}
    print_results(found if options.json else [str(path)])
    return 0


def _warn_of_loss(model: Model, clip: Clip) -> None:
    """Warn if `mini`, whose autoencoder was trained on few kinds of sounds, reconstructs this one badly."""
    entry = named_entry(model.name)
    if entry is None or not entry.is_packaged:
        return
    from soundloom.datasets.fidelity import COMPARED_SECONDS, fidelity_warning
    from soundloom.pipeline.stable_audio.codec import model_codec

    beginning = clip.read(0, min(clip.samples, round(COMPARED_SECONDS * clip.sample_rate)))
    if warning := fidelity_warning(model.name, [model_codec(model).difference(beginning, clip.sample_rate)]):
        log.warning("%s", warning)


# Datasets


def _encode_dataset(options: Options) -> int:
    """Return exit code 1 if nothing could be encoded, else 0."""
    from soundloom.datasets.encoding import encode_dataset
    from soundloom.datasets.examples import Selection
    from soundloom.datasets.fidelity import fidelity_warning
    from soundloom.datasets.opening import open_dataset
    from soundloom.pipeline.stable_audio.codec import model_codec

    out = options.folder or options.out
    if out is None or (options.folder and options.out):
        raise RequestError("--dataset needs an output folder", "soundloom encode --dataset IN OUT")
    dataset = open_dataset(options.input)
    writer = _writer(Path(out), options.format, Path(options.input))
    if next(iter(dataset.entries()), None) is None:
        raise AudioError(f"{options.input} contains no audio files or shards")
    model = open_model(options, keep_loaded=True)
    summary = encode_dataset(dataset, writer, model_codec(model), Selection(), _progress)
    _report(summary.skipped)
    if warning := fidelity_warning(model.name, summary.differences):
        log.warning("%s", warning)
    print_results({"out": out, **asdict(summary)} if options.json else _lines(out, summary))
    return 0 if summary.stored else 1


def _writer(out: Path, form: str, source: Path) -> Writer:
    """Return a writer of the format. Raises RequestError if the folder cannot be used."""
    from soundloom.datasets.latents import SILENCE, LatentFolderWriter
    from soundloom.datasets.webdataset import ShardWriter

    # realpath, since resolve() raises for a link that leads back to itself
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise RequestError(f"the output {out} is inside the dataset {source}", "choose a folder outside it")
    remove_stale(out)
    others = [path for path in out.glob("[!.]*.npy" if form == "webdataset" else "[!.]*.tar") if path.name != SILENCE]
    if out.is_file() or others:
        raise RequestError(f"{out} already contains files of another format than {form}", "choose a new folder")
    return LatentFolderWriter(out) if form == "npy" else ShardWriter(out)


def _progress(summary: Summary) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{summary.stored} files, {summary.encoded} encoded, {len(summary.skipped)} skipped ")


def _report(skipped: list[Skipped]) -> None:
    """Print which files were skipped, and why."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    for one in skipped[:SHOWN]:
        sys.stderr.write(one_message(f"skipped {printable(one.origin)}: {one.reason}") + "\n")
    if len(skipped) > SHOWN:
        sys.stderr.write(f"and {len(skipped) - SHOWN} more; use --json to list all\n")


def _lines(out: str, summary: Summary) -> list[str]:
    parts = [
        f"{summary.encoded} encoded",
        f"{summary.described} captions updated",
        f"{summary.unchanged} unchanged",
        f"{len(summary.skipped)} skipped",
    ]
    notes = [f"{summary.uncaptioned} without caption"] if summary.uncaptioned else []
    notes += [f"{summary.orphaned} in {out} without source file"] if summary.orphaned else []
    return [f"{out}: {', '.join(parts + notes)}"]
