"""`soundloom eval set`: how far a set of sounds is from a reference."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from soundloom.cli.measuring import finish_report, measured_sounds, planned_sounds
from soundloom.cli.options.evaluation import MeasuredOptions, RecipeOptions, ReportOptions
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.shared import reference_flag
from soundloom.cli.terminal.counting import counter
from soundloom.cli.terminal.streams import escaped
from soundloom.errors import RequestError
from soundloom.evaluation.sets.manifest import read_set

if TYPE_CHECKING:
    from soundloom.evaluation.embedders.base import Classifier
    from soundloom.evaluation.recipes import Recipe
    from soundloom.evaluation.reports.record import Report
    from soundloom.evaluation.sets.manifest import SoundSet
    from soundloom.evaluation.sets.prompts import PromptList
    from soundloom.evaluation.sets.references import Reference


@dataclass(frozen=True)
class Options(MeasuredOptions, RecipeOptions, ReportOptions):
    """Measure the distance of sounds, or of a model's clips, to a reference: FAD, KAD, density and coverage.

    The reference is a set of sounds, or a file that --save-reference wrote. Without --prompts, a model generates the
    captions of the reference.
    """

    reference: str | None = reference_flag()
    save_reference: str | None = flag(
        "--save-reference", metavar="NAME", help="save the reference, or SOUNDS if there is none, for later runs"
    )
    allow_small: bool = switch(
        "--allow-small", help="measure also where there are too few clips for a Fréchet distance"
    )


def run(options: Options) -> int:
    if not options.reference and not (options.sounds and options.save_reference):
        raise RequestError(
            "eval set needs --reference", "name a set of sounds, or save one: SOUNDS --save-reference NAME"
        )
    recipe, folder = options.chosen_recipe(), options.folder
    planned = planned_sounds(options, _captions(options.reference) if options.reference else None)
    from soundloom.evaluation.embedders.base import Classifier
    from soundloom.evaluation.reports.embeddings import write_embeddings
    from soundloom.evaluation.sets.references import is_reference
    from soundloom.evaluation.sets.report import Measuring, load_reference, set_report

    cache = options.open_cache()
    embedder = options.open_embedder(recipe, options.device)
    log = counter("embedded the reference", options.quiet)
    reference = load_reference(options.reference or options.sounds or "", Measuring(embedder, recipe, cache, log))
    if options.save_reference:
        _save(options.save_reference, reference)
    if not options.reference:
        return 0
    with measured_sounds(planned, options, options) as measured:
        measuring = Measuring(embedder, recipe, cache, counter("embedded", options.quiet))
        report, stored = set_report(
            measured.sounds, reference, measuring, measured.failures, measured.subject, options.allow_small
        )
        report = replace(report, data={**report.data, **measured.data}, cost=measured.cost)
        if isinstance(embedder, Classifier) and not is_reference(options.reference):
            report = _with_classes(report, measured.sounds, options.reference, embedder, recipe, options.quiet)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            write_embeddings(folder, {embedder.info.name: stored})
        return finish_report(report, options, {(item.id, item.seed): item.path for item in measured.sounds.items})


def _with_classes(
    report: Report, sounds: SoundSet, reference: str, classifier: Classifier, recipe: Recipe, quiet: bool
) -> Report:
    """Add the divergence of classes where sounds have the captions of real ones."""
    from soundloom.evaluation.sets.classes import class_metrics, pair_by_caption
    from soundloom.evaluation.sets.metrics import Names

    pairs = pair_by_caption(sounds.items, read_set(reference).items)
    names = Names(classifier.info.name, recipe.name, recipe.hash, classifier.info.hash)
    metrics, figures = class_metrics(pairs, classifier, recipe, names, counter("classified", quiet))
    clips = [replace(clip, figures={**clip.figures, **figures.get(clip.id, {})}) for clip in report.clips]
    return replace(report, metrics=(*report.metrics, *metrics), clips=tuple(clips))


def _save(name: str, reference: Reference) -> None:
    from soundloom.evaluation.sets.references import write_reference

    sys.stderr.write(escaped(f"saved the reference {write_reference(name, reference)}\n"))


def _captions(reference: str) -> PromptList | None:
    """Return the captions of a reference as prompts, if it has any."""
    from soundloom.evaluation.sets.prompts import prompts_of
    from soundloom.evaluation.sets.references import is_reference, read_reference
    from soundloom.evaluation.sets.report import stored_prompts

    if is_reference(reference):
        return stored_prompts(read_reference(reference))
    sounds = read_set(reference)
    return prompts_of(sounds) if any(item.caption for item in sounds.items) else None
