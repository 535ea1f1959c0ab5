"""The benchmark of controls with a model that renders what it is asked for, and with faults in its clips."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.errors import OutputError, RequestError
from soundloom.evaluation.controls.benchmark import ControlConfig, evaluate_controls
from soundloom.evaluation.controls.ceiling import reference_labels, rendered
from soundloom.evaluation.controls.key import key_index, key_name
from soundloom.evaluation.controls.prompts import CONTROLS, prompts_of, read_control_prompts, spread
from soundloom.evaluation.controls.rows import control_table
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.pipeline.load import load_stable_audio


class RenderingModel:
    """Render the sound that a prompt describes, after a change of its labels, then of its audio."""

    name = "renderer"
    config = SimpleNamespace(max_seconds=12.0)
    checkpoint = SimpleNamespace(fingerprint="0" * 16)
    engine = SimpleNamespace(name="numpy", device="cpu", precision="fp32")

    def __init__(self, change_labels=lambda labels: labels, change_audio=lambda audio: audio):
        self.change_labels, self.change_audio = change_labels, change_audio
        self.labels = {prompt.text: reference_labels(prompt) for prompt in read_control_prompts()}
        self.caption_vocabulary = SimpleNamespace(
            unknown=lambda text: [] if self.labels[text] else ["cello"], names_sound=lambda text: True
        )

    def run(self, requests):
        return [self.generate(request) for request in requests]

    def generate(self, request):
        labels = self.change_labels(self.labels[request.prompt])
        audio = render(labels, request.seconds, np.random.default_rng(request.seed))
        return Clip(self.change_audio(audio), SAMPLE_RATE)


def measured(control, prompts=3, seconds=5.0, **faults):
    found = evaluate_controls(RenderingModel(**faults), ControlConfig((control,), prompts, seconds=seconds))
    return {metric.name.removeprefix("control/"): metric.value for metric in found.report.metrics}, found


@pytest.mark.parametrize("control", ["tempo", "key", "pitch", "duration", "side"])
def test_a_model_that_renders_what_is_asked_for_is_right(control):
    figures, found = measured(control, prompts=2)
    assert found.rows[0].share == 1
    assert figures["failures"] == 0


def test_a_doubled_tempo_keeps_accuracy_2():
    figures, _ = measured("tempo", 4, change_labels=lambda labels: replace(labels, bpm=min(labels.bpm * 2, 200)))
    assert figures["tempo_accuracy1"] <= 0.25
    assert figures["tempo_accuracy2"] - figures["tempo_accuracy1"] >= 0.5
    assert figures["tempo_octave_errors"] >= 0.5


def test_a_key_up_a_fifth_gets_half_a_point():
    def up(labels):
        index = key_index(labels.key)
        return replace(labels, key=key_name(index // 12 * 12 + (index + 7) % 12))

    figures, _ = measured("key", 2, change_labels=up)
    assert figures["key_exact"] == 0
    assert figures["key_points"] == 0.5


def test_a_cut_of_0_3_s_is_found():
    figures, found = measured("duration", change_audio=lambda audio: audio[:, : -round(0.3 * SAMPLE_RATE)])
    assert figures["duration_exact"] == 0
    assert {clip.figures["control/missing_samples"] for clip in found.report.clips} == {13230}


def test_swapped_channels_are_on_the_wrong_side():
    figures, found = measured("side", None, 0.5, change_audio=lambda audio: audio[::-1].copy())
    assert figures["side"] == pytest.approx(2 / 14)  # those in the center
    assert found.rows[0].ceiling == 1


@pytest.mark.parametrize(("level", "failure"), [(0.0, "silent"), (np.nan, "not finite")])
def test_unusable_clips_are_failures_and_obey_nothing(level, failure):
    figures, found = measured("tempo", change_audio=lambda audio: audio * np.float32(level))
    assert figures["tempo_accuracy1"] == figures["tempo_accuracy2"] == 0
    assert figures["failures"] == 1
    assert found.report.clips[0].failures == (failure,)
    assert found.rows[0].failed == found.rows[0].clips == 3


def test_clipped_clips_are_measured_and_are_no_failures():
    figures, found = measured("tempo", change_audio=lambda audio: np.clip(20 * audio, -1, 1))
    assert figures["failures"] == 0
    assert found.report.clips[0].failures == ()
    assert found.report.clips[0].figures["control/clipped"] == 1


def test_clips_that_raise_are_failures(monkeypatch):
    def run(self, requests):
        raise OutputError("silent")

    monkeypatch.setattr(RenderingModel, "run", run)
    assert measured("side")[0]["failures"] == 1


def test_unknown_words_are_left_out_or_count_as_failures():
    figures, found = measured("side", None, 1.0)
    assert figures["failures"] == 0
    assert "side: 3 of 17 prompts have words that renderer does not know" in found.report.notes
    config = ControlConfig(("side",), seconds=1.0, all_prompts=True)
    everything = evaluate_controls(RenderingModel(), config).rows[0]
    assert (everything.clips, everything.hits, everything.failed) == (17, 14, 3)


def test_levels_reach_their_target_where_the_peak_allows_it():
    def with_click(audio):
        return np.where(np.arange(audio.shape[1]) == 5000, np.float32(2), audio)

    _, found = measured("loudness", 4, 1.0, change_audio=with_click)
    hits = {
        clip.id.removeprefix("loudness/"): clip.figures["control/loudness_on_target"] for clip in found.report.clips
    }
    assert hits == {"rain-9": 0, "rain-23": 1, "house-14": 0, "house-27": 1}


def test_sounds_that_end_early_do_not_last():
    assert measured("duration", 2, change_audio=faded)[0]["content_lasts"] == 0


def faded(audio):
    return audio * np.where(np.arange(audio.shape[1]) < audio.shape[1] / 2, 1, 0).astype(np.float32)


def test_instruments_and_voices_need_a_classifier():
    labels = ("guitar", "drums", "vocals")
    classifier = SimpleNamespace(
        info=EmbedderInfo("fake", 16000, 16000, 3, "0", labels=labels),
        classify=lambda windows: np.tile([5.0, -5.0, -5.0], (len(windows), 1)),
        embed=None,
    )
    config = ControlConfig(("instrument", "tempo"), 1, seconds=2.0)
    assert "instrument: not measured without a classifier" in evaluate_controls(RenderingModel(), config).report.notes
    model = RenderingModel()
    model.labels = dict.fromkeys(model.labels, Labels("pluck", "guitar", hz=220))
    config = ControlConfig(("instrument", "instrumental"), seconds=1.0)
    rows = evaluate_controls(model, config, classifier).rows
    assert [(row.name, row.hits, row.clips) for row in rows] == [("instrument_top3", 3, 3), ("instrumental", 6, 6)]


def test_intervals_count_prompts_and_not_seeds():
    found = evaluate_controls(RenderingModel(), ControlConfig(("side",), prompts=2, seeds=3, seconds=1.0))
    assert (found.rows[0].clips, found.rows[0].prompts) == (6, 2)
    lines = control_table(found.rows)
    assert lines[0].split()[:3] == ["control", "n", "hits"] and lines[1].startswith("side")


def test_a_pitch_an_octave_up_is_an_octave_error():
    figures, _ = measured("pitch", 3, change_labels=lambda labels: replace(labels, hz=2 * labels.hz))
    assert figures["pitch_within_50_cents"] == 0 and figures["pitch_octave_errors"] == 1


def test_noise_has_no_tempo_and_is_unsure():
    figures, found = measured("tempo", 2, change_labels=lambda labels: Labels("noise", "white"))
    assert (figures["tempo_unsure"], figures["tempo_accuracy1"], figures["tempo_octave_errors"]) == (1, 0, 0)
    assert found.rows[0].unsure == 2 and found.rows[0].ceiling == 1


def test_two_runs_are_equal():
    first, second = (measured("side", 2, 0.5)[1].report for _ in range(2))
    assert (first.metrics, first.clips, first.data) == (second.metrics, second.clips, second.data)


def test_a_minute_is_the_longest_reference():
    long = [one for one in prompts_of("duration") if one.asked == "95"]
    assert rendered(long[0], 95.0) is None and rendered(long[0], 0.5).samples == SAMPLE_RATE // 2


def test_the_list_covers_every_control():
    prompts = read_control_prompts()
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 265
    assert {float(one.asked) for one in prompts_of("tempo")} == set(range(60, 181, 10))
    assert len({key_index(one.asked) for one in prompts_of("key")}) == 24
    assert {one.control for one in prompts} == set(CONTROLS)
    assert max(one.seconds(10, 5.8) for one in prompts_of("duration", 5.8)) == 5.8
    assert [one.asked for one in spread(prompts_of("tempo"), 2)] == ["60", "180"]


def test_the_list_says_which_prompts_mini_knows():
    vocabulary = load_stable_audio("mini").caption_vocabulary
    for prompt in read_control_prompts():
        known = not vocabulary.unknown(prompt.text) and vocabulary.names_sound(prompt.text)
        assert known == prompt.for_mini, prompt.id


@pytest.mark.parametrize(
    "values", [{"prompts": 0}, {"seeds": 0}, {"seconds": 0.0}, {"seconds": np.inf}, {"controls": ("pitch", "mood")}]
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(RequestError):
        ControlConfig(**values)
