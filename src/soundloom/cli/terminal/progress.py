"""Show progress bars and a final summary on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from soundloom.audio.clip import Clip
from soundloom.audio.disclosure import source_type_uri
from soundloom.cli.terminal.results import note_saved, print_results
from soundloom.cli.terminal.streams import escaped
from soundloom.pipeline.progress import Progress

EMBEDDED = "mini"
SEEDS_SHOWN = 8


@dataclass
class ProgressStage:
    """Total seconds of a stage, the process's peak memory by its end, and its peak on the device, in bytes."""

    seconds: float = 0.0
    host_bytes: int | None = None
    device_bytes: int | None = None


@dataclass(frozen=True)
class SavedClip:
    """Facts about a clip that was saved to a file; a clip that --pick dropped has none."""

    path: str | None
    seconds: float
    sample_rate: int
    channels: int
    record: Mapping[str, Any]
    facts: Mapping[str, Any]  # beside the record: levels, measurements, residual, the choice of --pick
    kept: bool = True


class ProgressDisplay:
    """Callback that shows `Progress` events in a terminal, and sums up the time of each stage."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
        columns = TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        is_live = self.console.is_terminal and not quiet
        # Results printed in the meantime must go to stdout, not to the display on stderr.
        self._display = Display(
            *columns, console=self.console, transient=True, disable=not is_live, redirect_stdout=False
        )
        self._tasks: dict[str, TaskID] = {}
        self.stages: dict[str, ProgressStage] = {}

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def __call__(self, event: Progress) -> None:
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._display.add_task(event.stage)
        self._display.update(self._tasks[event.stage], completed=event.step, total=event.steps)
        if event.finished:
            stage = self.stages.setdefault(event.stage, ProgressStage())
            stage.seconds += event.seconds
            stage.host_bytes = max(filter(None, (stage.host_bytes, event.host_bytes)), default=None)
            stage.device_bytes = max(filter(None, (stage.device_bytes, event.device_bytes)), default=None)

    def print(self, text: str) -> None:
        """Print text, unless quiet."""
        self.console.print(escaped(text))


class ClipDisplay(ProgressDisplay):
    """Display of a command that generates clips: prints paths, and a summary or what was saved before an error."""

    def __init__(
        self,
        total: int,
        *,
        quiet: bool = False,
        json: bool = False,
        picks: bool = False,
        signer: str | None = None,
    ) -> None:
        """With `picks`, paths are printed when it is known which clips are kept.

        `signer` is the name in the certificate that signs the files, or None.
        """
        super().__init__(quiet=quiet)
        self.total, self.json, self.picks, self.signer = total, json, picks, signer
        self._saved: dict[int, SavedClip] = {}
        self._count = self._display.add_task("", total=total) if total > 1 else None
        self._show_count()
        self._start = time.perf_counter()
        self.seconds = 0.0

    @property
    def files(self) -> list[str]:
        """The saved files that are kept, in the order of the requests."""
        return [clip.path for clip in self._clips() if clip.kept and clip.path]

    def _clips(self) -> list[SavedClip]:
        return [self._saved[index] for index in sorted(self._saved)]

    def _show_count(self) -> None:
        if self._count is not None:
            done = len(self._saved)
            text = f"clip {min(done + 1, self.total)} of {self.total}"
            self._display.update(self._count, completed=done, description=text)

    def add(self, index: int, clip: Clip, path: Path, facts: Mapping[str, Any]) -> None:
        """Count a saved clip and print its path. Only facts about the clip stay in memory."""
        self._saved[index] = SavedClip(str(path), clip.seconds, clip.sample_rate, clip.channels, clip.record, facts)
        self._show_count()
        if not self.picks:
            self._print_paths([str(path), *([facts["residual"]["file"]] if "residual" in facts else [])])

    def note(self, index: int, facts: Mapping[str, Any]) -> None:
        """Add facts about a saved clip."""
        clip = self._saved[index]
        self._saved[index] = replace(clip, facts={**clip.facts, **facts})

    def decide(
        self, index: int, path: Path | None, kept: bool, residual: Path | None, facts: Mapping[str, Any]
    ) -> None:
        """Note whether a clip is kept, and the new paths of the clip and its residual."""
        clip = self._saved[index]
        facts = {**clip.facts, **facts}
        if "residual" in facts:
            facts["residual"] = {**facts["residual"], "file": _name(residual)}
        self._saved[index] = replace(clip, path=_name(path), kept=kept, facts=facts)

    def _print_paths(self, paths: list[str]) -> None:
        if self.json or not paths:
            return
        self._display.stop()  # the paths may go to the same terminal
        print_results(paths)
        self._display.start()

    def finish(self) -> None:
        """Stop the display and print the summary."""
        self._display.stop()
        self.seconds = time.perf_counter() - self._start
        if self.picks:
            self._print_paths(self.files)
            self._display.stop()
        self.print(_summary(self, self._clips()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None and self.json:
            print_results(_results(self, self._clips()))
        elif error is not None and (self._saved or self.total > 1):
            if self.picks:
                self._print_paths(self.files)
                self._display.stop()
            note_saved(error, self.files, self.total)


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _model_facts(record: Mapping[str, Any]) -> str:
    if record["model"] == EMBEDDED:
        return "the tiny model included in soundloom, trained on synthetic sounds"
    return f"weights {record['model_hash']}, license {record['license']}"


def _settings(request: Mapping[str, Any]) -> str:
    if "sampler" in request:
        return f"{request['steps']} steps of {request['sampler']}"
    sampling = f"top-p {request['top_p']:g}" if request["top_p"] else f"top-k {request['top_k']}"
    return f"temperature {request['temperature']:g}, {sampling}, guidance {request['guidance']:g}"


def _peak(display: ProgressDisplay) -> int | None:
    """Return the maximum resident memory of all stages."""
    return max((stage.host_bytes for stage in display.stages.values() if stage.host_bytes), default=None)


def _summary(display: ClipDisplay, clips: Sequence[SavedClip]) -> str:
    """Describe model, settings, time per stage, and peak memory."""
    record, seconds = clips[0].record, sum(clip.seconds for clip in clips)
    seeds = ", ".join(str(clip.record["seed"]) for clip in clips[:SEEDS_SHOWN])
    if len(clips) > SEEDS_SHOWN:
        seeds = f"{seeds} … {clips[-1].record['seed']}"
    machine = f"{record['engine']} on {record['device']}, {record['precision']}"
    lines = [
        f"{record['model']}: {_model_facts(record)}",
        f"seed {seeds} · {_settings(record['request'])} · {machine}",
    ]
    if display.signer is not None:
        lines.append(f"signed by {display.signer}; `soundloom show FILE` verifies it")
    for name, stage in display.stages.items():
        device = f", {stage.device_bytes / 2**20:.0f} MiB on the device" if stage.device_bytes else ""
        host = f"{stage.host_bytes / 2**20:7.0f} MiB" if stage.host_bytes else ""
        lines.append(f"  {name:<7} {stage.seconds:7.2f} s {host}{device}")
    peak = _peak(display)
    memory = f", peak memory {peak / 2**20:.0f} MiB" if peak else ""
    speed = f"{seconds / display.seconds:.3g} times real time"
    return "\n".join([*lines, f"  total   {display.seconds:7.2f} s for {seconds:.2f} s of audio, {speed}{memory}"])


def _clip_facts(clip: SavedClip) -> dict[str, Any]:
    """Return the file, the record and all other facts of a clip on one level."""
    names = ("path", "seconds", "sample_rate", "channels")
    kind = {"digital_source_type": source_type_uri(clip.record)}
    return {**{name: getattr(clip, name) for name in names}, **clip.record, **kind, **clip.facts}


def _results(display: ClipDisplay, clips: Sequence[SavedClip]) -> dict[str, Any]:
    """Return files, metadata, times, and peak memory as JSON-compatible values."""
    seconds = sum(clip.seconds for clip in clips)
    return {
        "files": display.files,
        **({"rejected": [clip.path for clip in clips if clip.path and not clip.kept]} if display.picks else {}),
        "clips": [_clip_facts(clip) for clip in clips],
        "stages": {name: vars(stage) for name, stage in display.stages.items()},
        "total_seconds": display.seconds,
        "times_real_time": seconds / display.seconds,
        "peak_bytes": _peak(display),
        "signer": display.signer,
    }
