from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.edits.embedding import SpanEmbedder
from soundloom.evaluation.edits.figures import share_metric
from soundloom.evaluation.edits.region_edits import measure_edit, plan_edits
from soundloom.evaluation.edits.region_metrics import (
    RegionEmbeddings,
    _Rows,
    kept_metrics,
    measure_regions,
    seam_metrics,
)
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.metrics import Names
from tests.evaluation.edits.sounds import regenerated, source

SOURCES = [source(number, seconds=3.0) for number in range(5)]
EDITS = plan_edits(SOURCES, (1.0,), (0.5,), (1,), with_ends=False)


@pytest.fixture(scope="module")
def embed():
    return SpanEmbedder(load_embedder("log-mel"), find_recipe("soundloom", "log-mel"))


def figures(audios, embed, trips=None):
    """Return the metrics, by name without the embedder and recipe, and the rest of the report."""
    results = [measure_edit(edit, audio) for edit, audio in zip(EDITS, audios, strict=True)]
    vectors = RegionEmbeddings(embed, SOURCES, trips or [each.audio for each in SOURCES])
    found = measure_regions(results, vectors, Names("log-mel", "soundloom"))
    return {metric.name.removesuffix("/log-mel/soundloom"): metric for metric in found.metrics}, found


def test_real_regions_are_at_no_distance_and_fit_their_surroundings(embed):
    metrics, found = figures([each.audio for each in SOURCES], embed)
    assert metrics["region/fad/1s"].value == pytest.approx(0, abs=1e-6)
    assert metrics["region/context/1s"].value == 1
    assert metrics["edit/edited"].value == 0
    assert metrics["seam/flux"].value < 2
    assert [(clip.id, clip.seed) for clip in found.clips] == [(edit.id, 1) for edit in EDITS]


def test_other_music_is_farther_away_and_noise_farthest(embed):
    others = [regenerated(edit, 100 + edit.number) for edit in EDITS]
    rng = np.random.default_rng(0)
    noisy = []
    for edit in EDITS:
        audio = edit.source.audio.copy()
        audio[:, edit.span[0] : edit.span[1]] = 0.3 * rng.normal(size=(2, edit.span[1] - edit.span[0]))
        noisy.append(audio)
    music, noise = figures(others, embed)[0], figures(noisy, embed)[0]
    for name in ("region/fad/1s", "region/kad/1s"):
        assert music[name].value < noise[name].value
    assert noise["region/context/1s"].value < music["region/context/1s"].value
    assert noise["seam/flux"].value > 2
    assert music["edit/changed_samples"].value == 0


def test_the_codec_is_the_ceiling(embed):
    noisy = [each.audio + np.float32(0.05) for each in SOURCES]
    metrics, _ = figures([each.audio for each in SOURCES], embed, noisy)
    assert metrics["codec/region/fad/1s"].value > 0
    assert metrics["codec/region/fad/1s"].windows == metrics["region/fad/1s"].windows
    assert metrics["codec/seam/rank_beyond"].goal is None


def test_the_ceiling_depends_on_the_codec_inside_the_region_alone(embed):
    trips = [each.audio.copy() for each in SOURCES]
    for edit, audio in zip(EDITS, trips, strict=True):
        audio[:, : edit.span[0]] = audio[:, edit.span[1] :] = 0.9
    vectors = RegionEmbeddings(embed, SOURCES, trips)
    for edit in EDITS:
        place = edit.number, edit.span
        assert vectors.codec(place).windows == pytest.approx(vectors.real(place).windows, abs=1e-4)
        assert vectors.codec(place).whole == pytest.approx(vectors.real(place).whole, abs=1e-4)


def test_failures_are_counted_and_not_dropped(embed):
    audios = [each.audio.copy() for each in SOURCES]
    audios[0] = None
    audios[1][:, EDITS[1].span[0] : EDITS[1].span[1]] = 0
    metrics, found = figures(audios, embed)
    assert metrics["edit/failures"].value == pytest.approx(2 / 5)
    assert not metrics["edit/failures"].passed
    assert [clip.failures for clip in found.clips[:2]] == [("unusable",), ("silent",)]


def test_clicks_miss_the_goals():
    clean = [measure_edit(edit, edit.source.audio) for edit in EDITS]
    clicks = []
    for edit in EDITS:
        audio = edit.source.audio.copy()
        audio[:, edit.span[0]] += 0.9
        clicks.append(measure_edit(edit, audio))
    notes = []
    assert {m.name: m.value for m in seam_metrics(clean, notes)}["seam/rank_beyond"] == 0
    found = {m.name: m for m in seam_metrics(clicks, notes)}
    assert found["seam/rank_beyond"].value == 0.5
    assert not found["seam/rank_beyond"].passed
    assert notes == []


def test_one_source_gives_no_distance_and_says_so(embed):
    one = [measure_edit(EDITS[0], regenerated(EDITS[0], 50))]
    found = measure_regions(one, RegionEmbeddings(embed, SOURCES[:1], [None]), Names("log-mel", "soundloom"))
    assert not [m for m in found.metrics if "fad" in m.name or "detectability" in m.name]
    assert any("4 clips or more" in note for note in found.notes)
    assert any("distances of regions of 1 s were left out" in note for note in found.notes)


def test_nothing_measured_gives_only_failures():
    metrics = kept_metrics([measure_edit(edit, None) for edit in EDITS])
    assert [metric.name for metric in metrics] == ["edit/failures"]
    assert metrics[0].value == 1


def test_shares_count_sources():
    one, many = (share_metric("x", [True, False] * edits, [0, 1] * edits)[0] for edits in (1, 20))
    assert many.interval == one.interval and many.count == 2 and many.value == 0.5


def test_seeds_of_a_region_do_not_raise_its_kernel_distance():
    rng = np.random.default_rng(0)
    places = [(number, (0, 100)) for number in range(8)]
    real, made = ({place: rng.standard_normal((2, 4)) for place in places} for _ in range(2))
    one, many = (_Rows(places, range(8), real, [made] * seeds).kernel() for seeds in (1, 5))
    assert many[0] == pytest.approx(one[0])
    assert many[1] == pytest.approx(one[1])
