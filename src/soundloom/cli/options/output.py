"""Options of output: files, their format, and what is printed."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soundloom.cli.options.finish import FinishOptions
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.many import ManyOptions
from soundloom.cli.options.provenance import ProvenanceOptions
from soundloom.cli.options.shared import out_flag, overwrite_flag, subtype_flag
from soundloom.errors import RequestError

SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


@dataclass(frozen=True)
class JsonOptions:
    """Output."""

    json: bool = switch("--json", help="print the result as one JSON object")


@dataclass(frozen=True)
class SaveOptions(JsonOptions):
    """Output."""

    save: str | None = flag("--save", metavar="FILE", help="also write the result to a JSON file")

    def check_save(self) -> None:
        if self.save and Path(self.save).is_dir():
            raise RequestError(f"--save {self.save} is a folder", "name a file in it")


@dataclass(frozen=True)
class QuietOptions:
    """Output."""

    quiet: bool = switch("-q", "--quiet", help="hide progress and summary")


@dataclass(frozen=True)
class SubtypeOptions:
    """Output."""

    subtype: str | None = subtype_flag(help="bits per sample (default: 24, or as the source)")

    @property
    def sample_type(self) -> str | None:
        return SUBTYPES[self.subtype] if self.subtype else None


@dataclass(frozen=True)
class OutputOptions(ManyOptions, FinishOptions, SubtypeOptions, ProvenanceOptions, JsonOptions, QuietOptions):
    """Output."""

    out: str | None = out_flag(
        help="a WAV, FLAC, OGG, or MP3 file, or a folder; may contain {prompt}, {seed}, {n}, {model}, {bpm}, and {key} "
        "(default: named after prompt and seed)"
    )
    rate: int | None = flag("--rate", type=int, metavar="HZ", help="sample rate (default: 44100, or as the source)")
    channels: int | None = flag(
        "--channels", type=int, choices=(1, 2), help="1 mixes down to mono (default: 2, or as the source)"
    )
    peak: Literal["safe", "clip"] = flag(
        "--peak", default="safe", choices=("safe", "clip"), help="above full scale, turn the clip down or hard clip"
    )
    sidecar: bool = switch("--sidecar", help="also write the metadata to NAME.json")
    overwrite: bool | None = overwrite_flag(
        action=argparse.BooleanOptionalAction,
        help="replace existing files, including the source (default: only files named with --out)",
    )
    keep_bad: bool = switch(
        "--keep-bad", help="also save clips that fail the output checks (silence, static, far too loud)"
    )
    play: bool = switch("--play", help="play the result")
