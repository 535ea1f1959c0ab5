"""`soundloom eval align`: how well sounds match their captions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from soundloom.cli.measuring import finish_report, measured_sounds, planned_sounds
from soundloom.cli.options.evaluation import MeasuredOptions, RecipeOptions, ReportOptions
from soundloom.cli.terminal.counting import counter
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Options(MeasuredOptions, RecipeOptions, ReportOptions):
    """Score sounds against their captions with an embedder of sounds and texts, such as CLAP.

    The score is the cosine of a clip's vector with that of its caption. Scores of different embedders or recipes do
    not compare. The share of clips that prefer their own caption to another one needs no scale.
    """


def run(options: Options) -> int:
    planned = planned_sounds(options)
    recipe = options.chosen_recipe()
    from soundloom.evaluation.align import align_report
    from soundloom.evaluation.embedders.base import TextEmbedder

    embedder = options.open_embedder(recipe, options.device)
    if not isinstance(embedder, TextEmbedder):
        raise RequestError(
            f"the embedder {recipe.embedder} reads no texts, so it cannot score captions",
            "use --embedder clap-music-speech, after `soundloom eval fetch clap-music-speech`",
        )
    with measured_sounds(planned, options, options) as measured:
        log = counter("embedded", options.quiet)
        report = align_report(
            measured.sounds, embedder, recipe, options.open_cache(), measured.failures, measured.subject, log
        )
        report = replace(report, data={**report.data, **measured.data}, cost=measured.cost)
        return finish_report(report, options, {(item.id, item.seed): item.path for item in measured.sounds.items})
