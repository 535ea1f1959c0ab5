"""`soundloom trim`: cut a section out of an audio file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from soundloom.atomic import make_folder
from soundloom.audio.clip import Clip
from soundloom.audio.records import trimmed_record
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.prompts import quoted
from soundloom.cli.options.provenance import ProvenanceOptions
from soundloom.cli.options.shared import out_flag
from soundloom.cli.outputs import LOSSLESS, named_or_free
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Options(ProvenanceOptions, JsonOptions):
    """Keep only one section of an audio file. Samples, sample rate, and channels stay unchanged.

    soundloom trim in.wav --start 1 --end 4
    """

    input: str = flag(metavar="IN", help="an audio file")
    start: float = flag("--start", default=0.0, hidden=("--from",), type=float, metavar="S", help="in seconds")
    end: float | None = flag("--end", hidden=("--to",), type=float, metavar="S", help="in seconds (default: end of IN)")
    out: str | None = out_flag(help="a WAV, FLAC, OGG, or MP3 file (default: NAME-trim, next to IN)")


def run(options: Options) -> None:
    if not options.start and options.end is None:
        raise RequestError(
            "nothing says what to keep", f"soundloom trim {quoted(options.input)} --start 1 --end 4, or one of the two"
        )
    source = Path(options.input)
    suffix = source.suffix if source.suffix.lower() in LOSSLESS else ".wav"
    path = named_or_free(options.out, source.with_name(f"{source.stem}-trim{suffix}"))
    if path.exists() and source.exists() and path.samefile(source):
        raise RequestError(f"the output {path} is the source", "name another file with -o")
    signer = options.signer()
    clip = trimmed(StreamedClip.open(source), options.start, options.end)
    make_folder(path.parent)
    signing = options.signing(source, "c2pa.trimmed") or False
    clip.save(path, overwrite=options.out is not None, disclosure=options.discloses, c2pa=signing)
    facts = {"files": [str(path)], "seconds": clip.seconds} | ({} if signer is None else {"signer": signer})
    print_results(facts if options.json else [str(path)])


def trimmed(clip: Clip, start: float, end: float | None = None) -> Clip:
    """Return a clip from `start` to `end`, in seconds. Raises RequestError if the clip is too short."""
    stop = clip.seconds if end is None else end
    # A rounded length, as printed in messages, means the end of the clip.
    if math.isfinite(stop) and clip.seconds < stop < clip.seconds + 0.01:
        stop = clip.seconds
    first, last = (round(value * clip.sample_rate) if math.isfinite(value) else -1 for value in (start, stop))
    if not 0 <= first < last <= clip.samples:
        raise RequestError(
            f"the file is {clip.seconds:g} s long; it has no section from {start:g} to {stop:g} s",
            "START must be less than END, both between 0 and the length",
        )
    return clip.cut(first, last).with_record(trimmed_record(clip.record, start, stop))
