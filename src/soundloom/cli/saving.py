"""Save the clips of a plan with all that belongs to them: residuals, the table of --csv, the choice of --pick."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.atomic import make_folder, write_errors
from soundloom.audio.c2pa.library import manifest_path
from soundloom.audio.clip import Clip
from soundloom.audio.metadata import sidecar_path
from soundloom.audio.residual import residual
from soundloom.audio.signals import held_signals
from soundloom.cli.options.generation import GenerationOptions, MusicOptions
from soundloom.cli.outputs import Planned, file_of, free_path, residual_path, save, save_residual, shaped
from soundloom.cli.table import ClipTable, recorded_facts, saved_facts
from soundloom.cli.terminal.progress import ClipDisplay
from soundloom.errors import OutputError

if TYPE_CHECKING:
    from soundloom.cli.picking import Picker, Verdict

log = logging.getLogger(__name__)

REJECTED = "rejected"
FAILED = "failed the output checks"


@dataclass(frozen=True)
class _Files:
    """The files of a clip."""

    path: Path
    residual: Path | None

    def all(self, options: GenerationOptions | MusicOptions) -> list[Path]:
        """Return the files and, as the flags ask, those beside them."""
        files = [self.path, *([self.residual] if self.residual else [])]
        manifests = [beside for path in files if (beside := manifest_path(path)) is not None]
        return (
            files
            + [sidecar_path(path) for path in files] * options.sidecar
            + manifests * (options.signing() is not None)
        )


class Saver:
    """Saves clips one by one, and decides at the end which of them are kept."""

    def __init__(
        self,
        clips: Sequence[Planned],
        paths: Sequence[Path],
        options: GenerationOptions | MusicOptions,
        with_residual: bool = False,
    ) -> None:
        """Check the flags before any work. Raises RequestError or WriteError."""
        table = options.table()
        self._clips, self._paths, self._options, self._with_residual = clips, paths, options, with_residual
        self._picker = _picker(clips, options) if options.picks() else None
        self._table = ClipTable(table, options.overwrite) if table else None
        self._files: dict[int, _Files] = {}
        self._trimmed = 0.0  # seconds

    def add(self, index: int, clip: Clip, display: ClipDisplay) -> None:
        """Finish and save a clip, and show it."""
        source = self._clips[index].request.source
        # Before the result is saved, which may replace the source.
        left = residual(source, clip) if self._with_residual and source is not None else None
        finished = shaped(self._options.snapped(clip), self._options)
        try:
            with held_signals():  # so that a saved file is known
                path = save(finished, self._paths[index], self._options, source)
                facts: dict[str, Any] = {}
                other: Path | None = None
                if left is not None:
                    if (file := file_of(source)) is not None and file.samefile(path):  # which is now the result
                        source = None
                    other = save_residual(left, residual_path(path), self._options, source)
                    facts["residual"] = {"file": str(other), **left.record["residual"]}
                self._files[index] = _Files(path, other)
                display.add(index, finished, path, facts)
            cut = finished.record.get("finish", {}).get("trim_silence", {})
            self._trimmed += cut.get("start", 0.0) + cut.get("end", 0.0)
            if self._picker or self._table:
                display.note(index, self._measure(index, finished, path))
        finally:
            if self._table and index in self._files and index not in self._table:  # interrupted after saving
                self._table.add(index, _row(self._files[index].path, finished))

    def _measure(self, index: int, clip: Clip, path: Path) -> dict[str, Any]:
        """Measure a saved clip and add its row to the table, also if the user interrupts it meanwhile."""
        row = _row(path, clip)
        facts: dict[str, Any] = {}
        try:
            levels = saved_facts(path)
            row |= levels
            facts["levels"] = {name: _json_level(levels[name]) for name in ("peak_db", "true_peak_db", "lufs")}
            if self._picker:
                facts["measured"] = self._picker.add(index, path)
                row |= facts["measured"]
        finally:
            if self._table:
                self._table.add(index, row)
        return facts

    def finish(self, display: ClipDisplay, failure: OutputError | None = None) -> None:
        """Keep the best clips, and move or delete the others.

        `failure` is the error of clips that failed the output checks. Raises it if too few others are left, or if
        there is no choice among them.
        """
        finish = self._options.finish()
        if finish.trim_silence and self._files and not self._trimmed:
            log.warning(
                "--trim-silence found nothing below %g dB of the peak; raise --trim-threshold to cut quiet noise",
                finish.threshold,
            )
        if self._picker and self._pick(self._picker, display, failure is not None):
            failure = None
        if failure:
            raise failure

    def _pick(self, picker: Picker, display: ClipDisplay, failed: bool) -> bool:
        """Decide which clips are kept; return whether there are enough of them."""
        if self._files and picker.is_blind():
            log.warning(
                "--pick has nothing to measure: neither prompt nor flags ask for a tempo, key, length or loudness; "
                "the first clips that pass the output checks are kept"
            )
        try:
            for index, verdict in picker.verdicts().items():
                self._decide(index, verdict, display)
        finally:
            if self._table:
                self._finish_table(self._table, "" if picker.is_complete() else ", or was not generated after that")
        if failed and picker.is_complete():
            missing = len(self._clips) - len(self._files)
            log.warning("%d of %d clips %s and were not saved", missing, len(self._clips), FAILED)
        return picker.is_complete()

    def _finish_table(self, table: ClipTable, doubt: str) -> None:
        for index, planned in enumerate(self._clips):
            if index not in self._files:
                facts = {"prompt": planned.request.prompt, "seed": planned.seed, "reason": FAILED + doubt}
                table.update(index, {"status": "failed", **facts})
        table.finish()

    def _decide(self, index: int, verdict: Verdict, display: ClipDisplay) -> None:
        files, drops = self._files[index], self._options.drop_rejected
        now: _Files | None = files
        if not verdict.kept and drops:
            self._drop(files)
            now = None
        elif not verdict.kept:
            now = self._move(files)
        status = "kept" if verdict.kept else "dropped" if drops else "rejected"
        path = now.path if now else None
        display.decide(index, path, verdict.kept, now.residual if now else None, {"pick": verdict.to_json()})
        display.print(f"{status} {path or files.path}: rank {verdict.rank}, {verdict.score}")
        if self._table:
            score = round(verdict.score.value, 4)
            changes = {"file": path, "status": status, "score": score, "reason": str(verdict.score)}
            self._table.update(index, changes)

    def _drop(self, files: _Files) -> None:
        for file in files.all(self._options):
            with write_errors(file):
                file.unlink(missing_ok=True)

    def _move(self, files: _Files) -> _Files:
        """Move the files of a rejected clip to the folder `rejected` beside it."""
        folder = files.path.parent / REJECTED
        make_folder(folder)
        target = free_path(folder / files.path.name, self._options)
        new = _Files(target, residual_path(target) if files.residual else None)
        for old_path, new_path in zip(files.all(self._options), new.all(self._options), strict=True):
            with write_errors(new_path):
                old_path.replace(new_path)
        return new


def _picker(clips: Sequence[Planned], options: GenerationOptions | MusicOptions) -> Picker:
    from soundloom.cli.picking import Picker  # what measures is read only when it is used

    return Picker(clips, options)


def _row(path: Path, clip: Clip) -> dict[str, Any]:
    return {"file": path, "status": "saved", **recorded_facts(clip)}


def _json_level(value: float) -> float | None:
    return round(value, 3) if value > -float("inf") else None
