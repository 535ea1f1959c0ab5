"""Clips on their way to files: each is saved and its path printed as soon as it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.options.output import OutputOptions
from soundloom.cli.outputs import save
from soundloom.cli.terminal.progress import ProgressDisplay, SavedClip, print_summary, summary
from soundloom.cli.terminal.results import note_saved, print_results


class Delivery:
    """A run of a command that makes `total` clips; leaving it prints the summary, or what was saved before an error.

    Only what is said of a clip is kept, not its sound.
    """

    def __init__(self, options: OutputOptions, total: int) -> None:
        self.options, self.total = options, total
        self.watch = ProgressDisplay(quiet=options.quiet, clips=total)
        self._saved: dict[int, SavedClip] = {}

    @property
    def files(self) -> list[str]:
        """The saved files in the order of the requests."""
        return [self._saved[place].path for place in sorted(self._saved)]

    def __enter__(self) -> Self:
        self.watch.__enter__()
        return self

    def save(self, clips: Iterable[tuple[int, Clip]], paths: Sequence[Path], first: int = 0) -> None:
        """Save clips as they come; each names its place in `paths`, which begin with the `first` of all clips."""
        for place, clip in clips:
            path = str(save(clip, paths[place], self.options))
            self._saved[first + place] = SavedClip(path, clip.seconds, clip.sample_rate, clip.channels, clip.record)
            self.watch.count(len(self._saved))
            if not self.options.json:
                with self.watch.paused():
                    print_results([path])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.__exit__(kind, error, trace)
        saved = [self._saved[place] for place in sorted(self._saved)]
        if error is not None:
            if saved or self.total > 1:
                note_saved(error, self.files, self.total)
            return
        print_summary(self.watch, saved)
        try:
            self._play()
        except Exception as failure:  # the clips are there nonetheless
            note_saved(failure, self.files, self.total)
            raise
        if self.options.json:
            print_results(summary(self.watch, saved))

    def _play(self) -> None:
        if not self.options.play:
            return
        from soundloom.audio.playback import play

        for path in self.files:
            play(StreamedClip.open(path))  # as loud as the file is, which --lufs may have changed
