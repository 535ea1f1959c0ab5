import json

import numpy as np
import pytest

from soundloom.datasets.synthetic import SAMPLE_RATE, HeldOutPrompt, Labels, family_prompts, is_held_out, render
from soundloom.evaluation.metrics import mean_metric, share_metrics, table
from soundloom.evaluation.synthetic.adherence import adherence_metrics, score_clip


def score(requested, played, text="x"):
    audio = None if played is None else render(played, 4.0, np.random.default_rng(0))
    return score_clip(HeldOutPrompt(text, requested), audio, SAMPLE_RATE)


def test_correct_sound_scores_in_every_respect():
    tone = Labels("tone", "sine", hz=440.0, pan=-1.0)
    found = score(tone, tone)
    assert (found.is_kind, found.side) == (True, True)
    assert abs(found.cents) < 1
    kick = Labels("single drum loop", "kick", bpm=120, material="electronic")
    assert score(kick, kick).tempo == pytest.approx(1, abs=0.01)


def test_wrong_sound_fails_in_every_respect():
    found = score(Labels("tone", "sine", hz=440.0, pan=-1.0), Labels("tone", "sine", hz=600.0, pan=1.0))
    assert found.cents == pytest.approx(537, abs=2)
    assert found.side is False
    assert score(Labels("rain", "steady"), Labels("siren", "wailing", rate=0.4)).is_kind is False


def test_moving_sound_must_move_in_the_right_direction():
    right = Labels("rain", "steady", pan=-0.9, pan_to=0.9)
    left = Labels("rain", "steady", pan=0.9, pan_to=-0.9)
    assert score(right, right).side is True
    assert score(right, left).side is False
    assert score(right, Labels("rain", "steady")).side is False


def test_properties_without_labels_are_not_scored():
    found = score(Labels("rain", "steady"), Labels("rain", "steady"))
    assert (found.cents, found.tempo, found.side) == (None, None, None)
    fast = Labels("single drum loop", "kick", bpm=178, material="electronic")
    assert score(fast, fast).tempo is None


def test_failed_clip_fails_in_every_respect():
    found = score(Labels("tone", "sine", hz=440.0, pan=1.0), None)
    assert (found.kind, found.is_kind, found.side) == ("nothing", False, False)
    pitch = next(row for row in adherence_metrics([found]) if row.name == "pitch within 50 cents")
    assert (pitch.value, pitch.passed) == (0, False)
    json.dumps(found.record(), allow_nan=False)


def test_seeds_of_one_prompt_count_as_one_trial():
    tone = Labels("tone", "sine", hz=440.0)
    high = Labels("tone", "sine", hz=600.0)
    found = adherence_metrics([score(tone, tone, "a"), score(tone, high, "a"), score(tone, tone, "b")])
    pitch = next(row for row in found if row.name == "pitch within 50 cents")
    assert (pitch.value, pitch.count, pitch.passed) == (0.75, 2, False)


def test_prompts_cycle_through_families_with_held_out_labels():
    prompts = family_prompts(("tone", "rain"), 8, seconds=4.0, reverb=False)
    assert [prompt.labels.family for prompt in prompts] == ["tone", "rain"] * 4
    assert all(is_held_out(prompt.labels) for prompt in prompts[::2])
    assert not any(prompt.labels.reverb for prompt in prompts)
    assert prompts[:4] == family_prompts(("tone", "rain"), 4, seconds=4.0, reverb=False)


def test_table_states_whether_goals_are_reached():
    lines = table([*share_metrics("shares", [1.0, 0.5], goal=0.7), mean_metric("means", [5.0, 5.0], "dB", 4.0)])
    assert lines[1].split()[:3] == ["shares", "75", "%"]
    assert "reached" in lines[1]
    assert "missed" in lines[2]
    assert "at most 4.00 dB" in lines[2]
