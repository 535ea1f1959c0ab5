"""Measure clips as they are saved, and choose the best of each prompt for --pick."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundloom.audio.checks import Origin, check_audio
from soundloom.audio.levels import Level
from soundloom.audio.measure import measure
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.options.generation import GenerationOptions, MusicOptions
from soundloom.cli.outputs import Planned
from soundloom.config.file_names import ClipFacts
from soundloom.evaluation.selection import Asked, Score, best, score


@dataclass(frozen=True)
class Verdict:
    """Whether a clip is kept, its rank among those of its prompt, and why."""

    kept: bool
    rank: int
    score: Score

    def to_json(self) -> dict[str, Any]:
        return {"kept": self.kept, "rank": self.rank, **self.score.to_json()}


class Picker:
    """Scores the saved clips of a plan."""

    def __init__(self, clips: Sequence[Planned], options: GenerationOptions | MusicOptions) -> None:
        """Raises RequestError if the flags do not fit the plan."""
        self.count = options.pick or 0
        self._clips, self._level, self._tempo = clips, options.finish().normalize, options.snap_tempo
        self._groups: dict[Hashable, list[int]] = {}
        for index, planned in enumerate(clips):
            self._groups.setdefault(replace(planned.request, seed=0), []).append(index)
        options.check_pick(min(map(len, self._groups.values())))
        self._scores: dict[int, Score] = {}

    def add(self, index: int, path: Path) -> dict[str, Any]:
        """Measure a saved clip; return what was measured."""
        clip, planned = StreamedClip.open(path), self._clips[index]
        measured = measure(clip.stream(), clip.sample_rate)
        is_edit = planned.request.source is not None
        origin = Origin(planned.request.prompt, is_edit, is_region=is_edit and planned.mode != "vary")
        faults = check_audio(clip.audio, clip.sample_rate, origin)
        self._scores[index] = score(asked_by(planned, self._level, self._tempo), measured, faults)
        return measured.to_json()

    def verdicts(self) -> dict[int, Verdict]:
        """Return the verdict on each clip that was added, the best of each prompt first."""
        found: dict[int, Verdict] = {}
        for group in self._groups.values():
            scores = {index: self._scores[index] for index in group if index in self._scores}
            for rank, index in enumerate(best(scores, len(scores)), 1):
                found[index] = Verdict(rank <= self.count, rank, scores[index])
        return found

    def is_blind(self) -> bool:
        """Whether nothing that can be measured was asked of any clip."""
        return not any(found.terms for found in self._scores.values())

    def is_complete(self) -> bool:
        """Whether every prompt has as many clips as are to be kept."""
        return all(sum(index in self._scores for index in group) >= self.count for group in self._groups.values())


def asked_by(planned: Planned, level: str | None, tempo: float | None) -> Asked:
    """Return what a request, its prompt, the level of the file, and the tempo to which it is snapped ask for."""
    request, wanted = planned.request, Level.parse(level) if level else None
    facts = ClipFacts.of(request)
    return Asked(
        facts.tempo if tempo is None else tempo,
        facts.key,
        request.seconds if request.source is None else None,
        wanted.value if wanted and wanted.unit == "lufs" else None,
    )
