"""Get the sounds that are measured, and write the report."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.cli.loading import confirmation, known_model
from soundloom.cli.options.evaluation import MeasuredOptions, ReportOptions
from soundloom.cli.options.gates import print_gates
from soundloom.cli.terminal.counting import counter
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.streams import escaped
from soundloom.errors import RequestError
from soundloom.evaluation.sets.manifest import SoundSet, hash_rows
from soundloom.evaluation.sets.prompts import PromptList

if TYPE_CHECKING:
    from soundloom.evaluation.reports.record import Report
    from soundloom.pipeline.stable_audio.model import Model

CLIPS = "clips"  # folder of generated clips in that of the report
NAMED = 3  # failed clips that the terminal names


@dataclass(frozen=True)
class Measured:
    """Sounds to measure, the errors of clips that were not generated, by id, and facts for the report."""

    sounds: SoundSet
    failures: Mapping[str, str] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)


def planned_sounds(options: MeasuredOptions, default: PromptList | None = None) -> SoundSet | PromptList:
    """Return the sounds, or the prompts to generate from; `default` are used where none were named.

    Raises RequestError or ConfigError, also for an unknown model, before anything is loaded.
    """
    options.check_measured()
    from soundloom.evaluation.sets.manifest import read_set
    from soundloom.evaluation.sets.prompts import read_prompts

    if options.sounds:
        return read_set(options.sounds)
    known_model(options.model or "")
    prompts = read_prompts(options.prompts) if options.prompts else default
    if prompts is None:
        raise RequestError("--model needs --prompts", "name a text, CSV or JSONL file of prompts")
    return replace(prompts, prompts=prompts.prompts[: options.limit], count=options.seeds)


@contextmanager
def measured_sounds(
    planned: SoundSet | PromptList, options: MeasuredOptions, report: ReportOptions
) -> Iterator[Measured]:
    """Return the sounds, or generate them into the folder of the report, else into a temporary one."""
    if isinstance(planned, SoundSet):
        yield _as_measured(planned)
    elif report.folder:
        yield _generate(options, planned, report.folder / CLIPS, report.quiet)
    else:
        with tempfile.TemporaryDirectory(prefix="soundloom-eval-") as folder:
            yield _generate(options, planned, Path(folder), report.quiet)


def _as_measured(sounds: SoundSet) -> Measured:
    rows = sorted((item.id, item.caption) for item in sounds.items)
    return Measured(sounds, subject={"name": sounds.name}, data={"manifest": hash_rows(rows), "prompts": len(rows)})


def _generate(options: MeasuredOptions, prompts: PromptList, folder: Path, quiet: bool) -> Measured:
    from soundloom.evaluation.sets.generation import generate_set
    from soundloom.pipeline.load import load_stable_audio

    assert options.model is not None
    model = load_stable_audio(
        options.model,
        confirmation(),
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        revision=options.revision,
        offline=options.offline,
        accept_license=options.accept_license,
        keep_loaded=True,
    )
    seconds = min(options.seconds, model.config.max_seconds)
    found = generate_set(
        model, prompts, folder, seconds, options.request_options(), options.prefix, counter("generated", quiet)
    )
    if not found.sounds:
        error = next(iter(found.failures.values()))
        raise RequestError(f"none of the {len(found.failures)} clips is usable: {error}", "check the prompts")
    cost = {"seconds_per_clip": found.seconds / found.made} if found.made else {}
    data = {"manifest": prompts.hash, "prompts": len(prompts.prompts), "seeds": prompts.count, "seconds": seconds}
    return Measured(found.as_set(prompts.name), found.failures, subject_of(model, options), data, cost)


def subject_of(model: Model, options: MeasuredOptions) -> dict[str, Any]:
    """Return what a report says about a model and its settings."""
    sampling = {"steps": options.steps, "guidance": options.cfg, "prefix": options.prefix or None}
    from soundloom.evaluation.subjects import model_facts

    return {**model_facts(model), **{name: value for name, value in sampling.items() if value is not None}}


def finish_report(
    report: Report, options: ReportOptions, audio: Mapping[tuple[str, int | None], Path], lines: Sequence[str] = ()
) -> int:
    """Write the report if a folder was named, print its metrics (or `lines`), or all of it as JSON, and check gates.

    Returns the exit code, 1 if a gate failed. Raises RequestError for gates of figures that the report does not have.

    `audio` has the files of clips by id and seed; only those that the page shows are copied beside it.
    """
    from soundloom.evaluation.metrics import table
    from soundloom.evaluation.reports.encode import document
    from soundloom.evaluation.reports.page import MAX_CLIPS
    from soundloom.evaluation.reports.sections import worst_first
    from soundloom.evaluation.reports.write import dated, write_report

    report = replace(dated(report), command=shlex.join(["soundloom", *sys.argv[1:]]))
    report = options.with_gates(report, options.folder)
    if options.folder:
        shown = {(clip.id, clip.seed) for clip in worst_first(report)[:MAX_CLIPS]}
        sounds = {key: path for key, path in audio.items() if key in shown or path.is_relative_to(options.folder)}
        report = write_report(report, options.folder, sounds, embed=options.embed)
        sys.stderr.write(escaped(f"wrote {options.folder / 'report.html'}\n"))
    for note in (*report.notes, *_failed_clips(report)):
        sys.stderr.write(escaped(f"warning: {note}\n"))
    print_results(document(report) if options.json else list(lines) or table(report.metrics))
    return print_gates(report)


def _failed_clips(report: Report) -> list[str]:
    """Name the first clips that failed; the report lists all of them."""
    failed = [f"{clip.id} ({', '.join(clip.failures)})" for clip in report.clips if clip.failures]
    if not failed:
        return []
    which = ", such as " if len(failed) > NAMED else ": "
    return [f"{len(failed)} of {len(report.clips)} clips failed{which}{', '.join(failed[:NAMED])}"]
