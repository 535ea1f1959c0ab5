"""The interface of both model families: plan requests, execute plans, check and record the results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from threading import Event
from typing import Any, ClassVar, Generic, TypeVar

from soundloom.audio.checks import Finding, require_usable
from soundloom.audio.clip import Clip, log_warnings
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.engines.forks import require_threads
from soundloom.engines.musicgen import MusicEngine
from soundloom.engines.stable_audio import Engine
from soundloom.errors import OutputError, shown
from soundloom.pipeline.musicgen.plan import PlannedMusic
from soundloom.pipeline.plan import Plan
from soundloom.pipeline.progress import ProgressCallback, ProgressReporter
from soundloom.pipeline.provenance import source_record
from soundloom.pipeline.stable_audio.plan import PlannedClip
from soundloom.version import __version__

RequestT = TypeVar("RequestT", GenerationRequest, MusicRequest)
PlannedT = TypeVar("PlannedT", PlannedClip, PlannedMusic)
CheckpointT = TypeVar("CheckpointT", Checkpoint, MusicGenCheckpoint)
EngineT = TypeVar("EngineT", Engine, MusicEngine)


class BaseModel(ABC, Generic[RequestT, PlannedT, CheckpointT, EngineT]):
    """A checkpoint on an engine."""

    components: ClassVar[tuple[Any, ...]]  # all networks of the family

    def __init__(
        self, checkpoint: CheckpointT, engine: EngineT, *, keep_loaded: bool = False, keep_bad: bool = False
    ) -> None:
        self.checkpoint: CheckpointT = checkpoint
        self.engine: EngineT = engine
        self.keep_loaded, self.keep_bad = keep_loaded, keep_bad

    @property
    def name(self) -> str:
        """The catalogue name, or the name of the folder or file."""
        return self.checkpoint.name

    @property
    def sample_rate(self) -> int:
        """Sample rate of generated clips, in Hz."""
        return self.checkpoint.config.sample_rate

    def run(
        self, requests: Sequence[RequestT], *, progress: ProgressCallback | None = None, cancel: Event | None = None
    ) -> list[Clip]:
        """Generate a clip for each request; requests of equal length run together."""
        clips = dict(self.iter(requests, progress=progress, cancel=cancel))
        return [clips[index] for index in range(len(requests))]

    def iter(
        self, requests: Sequence[RequestT], *, progress: ProgressCallback | None = None, cancel: Event | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Generate a clip for each request, and yield its index and the clip as soon as it is finished.

        At most `MAX_BATCH` clips of equal length run together, so that memory does not grow with their number;
        networks stay loaded in between. Raises RequestError before any work. A clip that is not usable audio does not
        cost the others: its OutputError is raised after they have been yielded.
        """
        return self.execute(self.plan(requests), progress=progress, cancel=cancel)

    @abstractmethod
    def plan(self, requests: Sequence[RequestT]) -> Plan[PlannedT]:
        """Plan requests without reading weights; raises RequestError for what the model cannot do."""

    def execute(
        self, plan: Plan[PlannedT], *, progress: ProgressCallback | None = None, cancel: Event | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Generate the clips of a plan; see `iter`."""
        require_threads()
        return self._execute(plan, progress, cancel)

    def _execute(
        self, plan: Plan[PlannedT], progress: ProgressCallback | None, cancel: Event | None
    ) -> Iterator[tuple[int, Clip]]:
        reporter = ProgressReporter(self.engine, progress, cancel, len(plan.clips))
        failures = dict[int, OutputError]()
        logged = set[str]()
        try:
            executor = self._executor(reporter)
            for group in plan.groups:
                clips = [plan.clips[index] for index in group]
                keep_loaded = self.keep_loaded or group is not plan.groups[-1]
                usable = 0
                for index, result in zip(group, executor.execute(clips, keep_loaded), strict=True):
                    try:
                        clip = self._clip(plan.clips[index], result)
                    except OutputError as error:
                        failures[index] = error
                        continue
                    usable += 1
                    log_warnings([clip], logged)
                    yield index, clip
                reporter.clip += len(group)
                if failures and len(group) > 1 and not usable:
                    break  # a model that generates nothing usable fails at once
            if failures:
                first = next(iter(failures.values()))
                first.errors = failures
                raise first
        except BaseException:  # including Ctrl-C, and GeneratorExit from a caller that needs no more clips
            self._free(*self.components)
            raise

    @abstractmethod
    def _executor(self, reporter: ProgressReporter) -> Any:
        """Return the executor of the family; its `execute` returns a result for each planned clip of a group."""

    @abstractmethod
    def _clip(self, planned: PlannedT, result: Any) -> Clip:
        """Check a result and wrap it with the record of how it was generated; raises OutputError."""

    def _recorded(self, planned: PlannedT, clip: Clip, findings: Sequence[Finding], warnings: Sequence[str]) -> Clip:
        """Return a clip with its record. Raises OutputError if a finding is an error, unless `keep_bad`."""
        request = planned.request
        if not self.keep_bad:
            require_usable(findings, f"{self.name}, prompt '{shown(request.prompt)}', seed {planned.seed}")
        record: dict[str, Any] = {
            "soundloom": __version__,
            **self._origin(planned.mode),
            "license": self.checkpoint.license,
            "engine": self.engine.name,
            "device": self.engine.device,
            "precision": self.engine.precision,
            **planned.record(),
        }
        if request.source is not None:
            record["source"] = source_record(request.source)
        if warnings := [*dict.fromkeys(finding.message for finding in findings), *warnings]:
            record["warnings"] = warnings
        return clip.with_record(record)

    def _origin(self, mode: str) -> Mapping[str, Any]:
        return {"mode": mode, "model": self.name, "model_hash": self.checkpoint.fingerprint}

    def _generate(
        self, prompt: str | Sequence[str], requests: Sequence[RequestT], options: Mapping[str, Any]
    ) -> Clip | list[Clip]:
        """Run the requests of a call: one clip for one prompt, a list for several."""
        clips = self.run(requests, progress=options.get("progress"), cancel=options.get("cancel"))
        return clips[0] if isinstance(prompt, str) else clips

    def _free(self, *components: Any) -> None:
        if not self.keep_loaded:
            self.engine.free(*components)
