import json

import numpy as np
import pytest

from soundloom.datasets.synthetic import SAMPLE_RATE, HeldOutPrompt, Labels, family_prompts, is_held_out, render
from soundloom.evaluation.adherence import adherence_metrics, score_clip
from soundloom.evaluation.report import mean_metric, share_metric, table


def verdict(asked, played, text="x"):
    audio = None if played is None else render(played, 4.0, np.random.default_rng(0))
    return score_clip(HeldOutPrompt(text, asked), audio, SAMPLE_RATE)


def test_the_right_sound_is_right():
    tone = Labels("tone", "sine", hz=440.0, pan=-1.0)
    found = verdict(tone, tone)
    assert (found.is_kind, found.side) == (True, True)
    assert abs(found.cents) < 1
    kick = Labels("single drum loop", "kick", bpm=120, material="electronic")
    assert verdict(kick, kick).tempo == pytest.approx(1, abs=0.01)


def test_the_wrong_sound_is_wrong_in_each_respect():
    found = verdict(Labels("tone", "sine", hz=440.0, pan=-1.0), Labels("tone", "sine", hz=600.0, pan=1.0))
    assert found.cents == pytest.approx(537, abs=2)
    assert found.side is False
    assert verdict(Labels("rain", "steady"), Labels("siren", "wailing", rate=0.4)).is_kind is False


def test_a_moving_sound_must_move_the_right_way():
    right = Labels("rain", "steady", pan=-0.9, pan_to=0.9)
    left = Labels("rain", "steady", pan=0.9, pan_to=-0.9)
    assert verdict(right, right).side is True
    assert verdict(right, left).side is False
    assert verdict(right, Labels("rain", "steady")).side is False


def test_what_is_not_asked_for_is_not_judged():
    found = verdict(Labels("rain", "steady"), Labels("rain", "steady"))
    assert (found.cents, found.tempo, found.side) == (None, None, None)
    fast = Labels("single drum loop", "kick", bpm=178, material="electronic")
    assert verdict(fast, fast).tempo is None


def test_a_clip_that_could_not_be_made_fails_everything():
    found = verdict(Labels("tone", "sine", hz=440.0, pan=1.0), None)
    assert (found.heard, found.is_kind, found.side) == ("nothing", False, False)
    pitch = next(row for row in adherence_metrics([found]) if row.name == "pitch within 50 cents")
    assert (pitch.value, pitch.passed) == (0, False)
    json.dumps(found.record(), allow_nan=False)


def test_seeds_of_one_prompt_count_as_one_trial():
    tone = Labels("tone", "sine", hz=440.0)
    high = Labels("tone", "sine", hz=600.0)
    found = adherence_metrics([verdict(tone, tone, "a"), verdict(tone, high, "a"), verdict(tone, tone, "b")])
    pitch = next(row for row in found if row.name == "pitch within 50 cents")
    assert (pitch.value, pitch.count, pitch.passed) == (0.75, 2, False)


def test_prompts_are_of_the_families_in_turn_and_new_to_training():
    prompts = family_prompts(("tone", "rain"), 8, seconds=4.0, reverb=False)
    assert [prompt.labels.family for prompt in prompts] == ["tone", "rain"] * 4
    assert all(is_held_out(prompt.labels) for prompt in prompts[::2])
    assert not any(prompt.labels.reverb for prompt in prompts)
    assert prompts[:4] == family_prompts(("tone", "rain"), 4, seconds=4.0, reverb=False)


def test_the_table_says_whether_goals_are_reached():
    lines = table([share_metric("shares", [1.0, 0.5], goal=0.7), mean_metric("means", [5.0, 5.0], "dB", 4.0)])
    assert lines[1].split()[:3] == ["shares", "75", "%"]
    assert "reached" in lines[1]
    assert "missed" in lines[2]
    assert "at most 4.00 dB" in lines[2]
