"""`soundloom decode`: decode latents to an audio file, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.atomic import make_folder
from soundloom.audio.write import AudioWriter
from soundloom.checkpoints.formats.npy import read_npy
from soundloom.cli.loading import open_model
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import ModelOptions
from soundloom.cli.options.output import SUBTYPES, JsonOptions, SubtypeOptions
from soundloom.cli.options.shared import out_flag, require_length, seconds_flag, subtype_flag
from soundloom.cli.outputs import named_or_free
from soundloom.cli.terminal.results import print_results
from soundloom.errors import CorruptFileError, RequestError

CHANNELS = 2


@dataclass(frozen=True)
class Options(ModelOptions, SubtypeOptions, JsonOptions):
    """Decode latents, an array (channels, frames) in a .npy file, to an audio file of any length."""

    input: str = flag(metavar="IN", help="a .npy file from `soundloom encode`")
    out: str | None = out_flag(help="a WAV, FLAC, OGG, or MP3 file (default: IN with the suffix .wav)")
    subtype: str | None = subtype_flag(help="bits per sample (default: float for WAV files, else 24)")
    seconds: float | None = seconds_flag(help="trim to this length (default: all)")


def run(options: Options) -> None:
    if options.seconds is not None:
        require_length(options.seconds)
    latents = _read(Path(options.input))
    path = named_or_free(options.out, Path(options.input).with_suffix(".wav"))
    make_folder(path.parent)
    # The decoder may exceed full scale, which only float samples can store.
    subtype = SUBTYPES[options.subtype or "float"] if options.subtype or path.suffix.lower() == ".wav" else None
    model = open_model(options)
    record = {"mode": "decode", "model": model.name, "model_hash": model.checkpoint.fingerprint}
    named = options.out is not None
    with AudioWriter(path, model.sample_rate, CHANNELS, subtype=subtype, record=record, overwrite=named) as out:
        limit = None if options.seconds is None else round(options.seconds * model.sample_rate)
        for piece in model.decode_stream(latents):
            out.write(piece if limit is None else piece[:, : max(0, limit - out.samples)])
    found = {"files": [str(path)], "seconds": out.samples / out.sample_rate, "peak": out.peak}
    print_results(found if options.json else [str(path)])


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise RequestError(f"there is no file {path}", "pass a .npy file from `soundloom encode`")
    try:
        return read_npy(path)
    except OSError as error:
        raise CorruptFileError(f"cannot read {path}: {error.strerror}", "latents are a .npy file of numbers") from error
