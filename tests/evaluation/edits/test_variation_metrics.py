from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.edits.embedding import SpanEmbedder
from soundloom.evaluation.edits.loop_edits import loop_figures, measure_loops
from soundloom.evaluation.edits.variation_metrics import measure_variations
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.metrics import Names
from tests.evaluation.edits.sounds import MixingModel, source

SOURCES = [source(number, seconds=1.5) for number in range(3)]
LEVELS = (0.2, 0.5, 0.8)


class LeakingModel(MixingModel):
    """Hears the source at level 1."""

    def _clip(self, request):
        clip = super()._clip(request)
        return clip if request.source is None or request.noise < 1 else request.source


class SilentModel(MixingModel):
    """Makes nothing at one noise level."""

    def _clip(self, request):
        clip = super()._clip(request)
        if request.noise == 0.5:
            clip.audio[:] = 0
        return clip


def measure(model, sources=SOURCES, levels=LEVELS):
    embed = SpanEmbedder(load_embedder("log-mel"), find_recipe("soundloom", "log-mel"))
    trips = [each.audio for each in sources]
    names = Names("log-mel", "soundloom", "r" * 64, "e" * 64)
    return measure_variations(model, sources, trips, embed, names, (1,), levels)


@pytest.fixture(scope="module")
def mixed():
    return measure(MixingModel())


def test_less_is_kept_at_higher_levels(mixed):
    values = {metric.name: metric.value for metric in mixed.metrics}
    for figure in ("embedding", "chroma", "loudness"):
        assert values[f"variation/spearman_{figure}"] < -0.9
        assert 0 < values[f"variation/half_level_{figure}"] < 1
        assert values[f"variation/kept_{figure}/codec"] == pytest.approx(1)
        assert values[f"variation/kept_{figure}/prompt"] < values[f"variation/kept_{figure}"] < 1
    assert values["variation/spearman_obeyed"] > 0.9
    assert values["variation/area_chroma"] > 0
    assert values["variation/failures"] == 0


def test_the_ends_of_the_levels_are_the_round_trip_and_the_prompt(mixed):
    values = {metric.name: metric.value for metric in mixed.metrics}
    assert values["variation/lowest_level_log_mel"] < 1
    assert values["variation/level_1_difference"] == pytest.approx(0, abs=1e-6)
    assert any("level 1 against the prompt alone: equivalent" in note for note in mixed.notes)


def test_a_source_that_is_heard_at_level_1_is_found():
    found = measure(LeakingModel(), sources=[source(number, seconds=1.2) for number in range(6)], levels=(0.5,))
    assert any("level 1 against the prompt alone: different" in note for note in found.notes)


def test_curves_run_from_the_codec_to_the_prompt(mixed):
    curve = next(curve for curve in mixed.curves if curve.name == "chroma over noise")
    assert curve.x == (0.0, *LEVELS, 1.0)
    assert list(curve.y) == sorted(curve.y, reverse=True)
    assert len(curve.intervals) == len(curve.x)


def test_clips_have_the_figures_of_metrics_for_comparisons_in_pairs(mixed):
    names = {metric.name for metric in mixed.metrics}
    inside = [clip for clip in mixed.clips if clip.id.endswith("varied at 0.5")]
    assert len(inside) == 3
    assert {"variation/kept_chroma", "variation/obeyed"} <= set(inside[0].figures) & names
    assert len({(clip.id, clip.seed) for clip in mixed.clips}) == len(mixed.clips)


def test_silent_variations_are_failures():
    found = measure(SilentModel())
    values = {metric.name: metric.value for metric in found.metrics}
    assert values["variation/failures"] == pytest.approx(3 / (3 * (len(LEVELS) + 3)))
    assert any("variation/kept_chroma was left out" in note for note in found.notes)


def test_a_broken_loop_is_found():
    one = SOURCES[0]
    clean = loop_figures(one, one.audio)
    assert clean["loop/changed_samples"] == 0
    spoiled = one.audio.copy()
    spoiled[:, 0] += 1
    spoiled[:, one.samples // 2] += 1
    figures = loop_figures(one, spoiled)
    assert (figures["loop/rank_beyond"], figures["loop/changed_samples"]) == (1, 2)


def test_loops_are_counted_by_clip():
    class Looping(MixingModel):
        def run(self, requests):
            assert all(request.loop for request in requests)
            return [type(request.source)(np.roll(request.source.audio, 0), RATE) for request in requests]

    from tests.evaluation.edits.sounds import RATE

    metrics, clips = measure_loops(Looping(), SOURCES, (1, 2))
    assert [metric.name for metric in metrics][:2] == ["loop/failures", "loop/changed_samples"]
    assert len(clips) == 6
