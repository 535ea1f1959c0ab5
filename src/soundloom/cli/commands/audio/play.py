"""`soundloom play`: play audio files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soundloom.audio.playback import find_player, play
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.options.flags import flag


@dataclass(frozen=True)
class Options:
    """Play audio files one after the other, with an installed player. Ctrl-C skips to the next file."""

    files: Sequence[str] = flag(nargs="+", metavar="FILE", help="audio files")


def run(options: Options) -> None:
    find_player()  # raises an error that says what to install
    for file in options.files:
        play(StreamedClip.open(file))
