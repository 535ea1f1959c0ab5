"""The option that stretches results onto a tempo."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from soundloom.audio.clip import Clip
from soundloom.audio.records import with_warnings
from soundloom.cli.options.flags import flag
from soundloom.errors import AudioError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TempoOptions:
    """Output."""

    snap_tempo: float | None = flag(
        "--snap-tempo",
        type=float,
        metavar="BPM",
        help="stretch clips by at most 3 %%, without changing their pitch, so that their measured tempo is this, or "
        "half or double",
    )

    def check_tempo(self) -> None:
        """Raise RequestError for a tempo out of range, or without the library that stretches."""
        if self.snap_tempo is not None:
            from soundloom.audio.stretch import require_bpm, require_stretch

            require_bpm(self.snap_tempo, "--snap-tempo")
            require_stretch()

    def snapped(self, clip: Clip) -> Clip:
        """Return a clip with its tempo snapped; if that is impossible, the clip as it is, with a warning."""
        if self.snap_tempo is None:
            return clip
        from soundloom.audio.stretch import snap_tempo

        try:
            return snap_tempo(clip, self.snap_tempo)
        except AudioError as error:
            note = f"--snap-tempo left the clip as it is: {error.args[0]}"
            log.warning("%s", note)
            return clip.with_record(with_warnings(clip.record, [note]))
