"""Seeds of one prompt are not independent: more of the same make no interval narrower."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.align import align_report
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.manifest import SoundSet, prompt_numbers
from soundloom.evaluation.sets.metrics import Names, reference_rows, set_metrics

PROMPTS, SEEDS = 12, 4
RECIPE = find_recipe("soundloom", "angle")


class Angle:
    """Embeds the peak of a window as an angle to the texts."""

    info = EmbedderInfo("angle", 8000, 8000, 2, "0")

    def embed(self, windows):
        peaks = np.abs(windows).max(axis=1)
        return np.stack([np.cos(peaks), np.sin(peaks)], 1).astype(np.float32)

    def embed_text(self, texts):
        return np.array([[1.0, 0.1 * number] for number in range(len(texts))], np.float32)


def normal(rows, seed):
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal((rows, 6))


@pytest.fixture
def sounds(tmp_path, noise):
    for prompt in range(PROMPTS):
        noise(tmp_path / f"{prompt}.wav", 0.5 + 0.1 * prompt, seed=prompt)

    def repeated(seeds: int) -> SoundSet:
        items = [
            SoundItem(f"p{prompt}@{seed}", tmp_path / f"{prompt}.wav", f"sound {prompt}", seed=seed)
            for prompt in range(PROMPTS)
            for seed in range(1, seeds + 1)
        ]
        return SoundSet("made", tuple(items))

    return repeated


def test_an_alignment_score_has_the_interval_of_its_prompts(sounds):
    one, many = ({m.name: m for m in align_report(sounds(seeds), Angle(), RECIPE).metrics} for seeds in (1, SEEDS))
    for name in ("align/score", "align/foreign", "align/own_caption_wins"):
        assert many[name].count == one[name].count == PROMPTS
        assert many[name].value == pytest.approx(one[name].value)
        assert many[name].interval == pytest.approx(one[name].interval)
    assert many["align/score"].method.endswith("over prompts") and one["align/score"].method.endswith("over clips")
    assert many["align/failures"].count == PROMPTS * SEEDS


def test_distances_have_the_intervals_of_prompts():
    reference = reference_rows(normal(300, 0))
    rows, clips = np.repeat(normal(60, 1) + 0.3, SEEDS, axis=0), np.arange(60 * SEEDS)
    prompts = np.repeat(np.arange(60), SEEDS)

    def widths(**how):
        found = set_metrics(reference, rows, clips, Names("e", "r"), **how).metrics
        return {m.name: m.interval[1] - m.interval[0] for m in found if m.interval}

    by_clip, by_prompt = widths(), widths(prompts=prompts)
    for name in ("fad/e/r", "kad/e/r"):
        assert by_prompt[name] == pytest.approx(by_clip[name] * SEEDS**0.5, rel=0.25)


def test_clips_of_a_prompt_share_its_number(sounds):
    assert prompt_numbers(sounds(2), ("p0@1", "p3@2", "p0@2")).tolist() == [0, 1, 0]
