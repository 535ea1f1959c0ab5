"""`soundloom play`: sounds through the loudspeakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soundloom.audio.playback import find_player, play
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.options.flags import flag


@dataclass(frozen=True)
class Options:
    """Play sound files with a player that this machine has, one after the other; Ctrl-C goes on with the next."""

    files: Sequence[str] = flag(nargs="+", metavar="FILE", help="sound files")


def run(options: Options) -> None:
    find_player()  # which says what to install
    for file in options.files:
        play(StreamedClip.open(file))
