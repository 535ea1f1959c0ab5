"""The synthetic dataset: determinism, captions, held-out labels."""

import re
from dataclasses import replace

import numpy as np
import pytest

from soundloom.datasets.synthetic import (
    FAMILIES,
    SAMPLE_RATE,
    Labels,
    SyntheticDataset,
    held_out_prompts,
    is_held_out,
    random_caption,
)
from soundloom.datasets.synthetic.captions import indefinite_article, sentence, tag_caption
from soundloom.errors import RequestError

SHOWCASE = {
    "a 440 Hz tone": Labels("tone", "sine", hz=440.0),
    "bell in A4": Labels("bell", "bell", hz=440.0),
    "bass note E1": Labels("bass", "sub bass", hz=440.0 * 2 ** (-41 / 12)),
    "kick drum loop, 120 BPM": Labels("single drum loop", "kick", bpm=120, material="electronic"),
    "rain on the left": Labels("rain", "steady", pan=-0.75),
    "slow pad in A minor": Labels("pad", key="A minor", hz=110.0),
    "TrackType: Music, Genre: House, Instruments: Drums, 120 BPM": Labels(
        "drum loop", "house", bpm=120, material="electronic"
    ),
}


def rng_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def share_mentioning(labels: Labels, pattern: str, count: int = 200) -> float:
    rng = rng_of(0)
    return sum(bool(re.search(pattern, random_caption(labels, rng), re.I)) for _ in range(count)) / count


def test_clip_depends_only_on_seed_and_index() -> None:
    first, other_order = SyntheticDataset(7), SyntheticDataset(7)
    other_order.sample(3)
    one, again = first.sample(11), other_order.sample(11)
    assert one.labels == again.labels and one.captions == again.captions
    np.testing.assert_array_equal(one.audio, again.audio)


def test_other_indices_and_seeds_give_other_clips() -> None:
    texts = {SyntheticDataset(seed).sample(index, 1.0).audio.tobytes() for seed in (0, 1) for index in range(5)}
    assert len(texts) == 10


def test_clip_has_the_given_length_or_one_to_six_seconds() -> None:
    dataset = SyntheticDataset()
    clip = dataset.sample(0, seconds=3.0)
    assert clip.audio.shape == (2, 3 * SAMPLE_RATE) and clip.labels.seconds == 3.0
    assert clip.sample_rate == SAMPLE_RATE
    assert all(1.0 <= dataset.labels(index).seconds <= 6.0 for index in range(200))


def test_all_families_and_scenes_occur() -> None:
    labels = [SyntheticDataset().labels(index) for index in range(1500)]
    assert {one.family for one in labels} == set(FAMILIES)
    assert 0.1 < np.mean([one.layer is not None for one in labels]) < 0.2


def test_drums_and_their_tune_share_a_tempo() -> None:
    labels = [SyntheticDataset().labels(index) for index in range(1500)]
    pairs = [one for one in labels if one.family == "drum loop" and one.layer is not None]
    assert pairs and all(one.layer is not None and one.layer.bpm == one.bpm for one in pairs)


def test_captions_vary() -> None:
    dataset = SyntheticDataset()
    captions = [text for index in range(500) for text in dataset.captions(index, dataset.labels(index))]
    assert len(captions) == 2000
    assert len(set(captions)) > 1300
    assert all(text == text.strip() and "{" not in text and "  " not in text for text in captions)


@pytest.mark.parametrize(
    ("labels", "pattern"),
    [
        (Labels("tone", "sine", hz=500.0), "500 Hz"),
        (Labels("bell", "bell", hz=440.0), r"\bA4\b"),
        (Labels("drum loop", "house", bpm=124, material="acoustic"), "124"),
        (Labels("pad", key="C# minor", hz=138.6), "C# minor"),
        (Labels("rain", "heavy", pan=-1.0), r"\bleft\b"),
        (Labels("rain", "heavy", pan=0.5), r"\bright\b"),
        (Labels("whoosh", pan=-0.9, pan_to=0.9), "left to right"),
        (Labels("knock", count=3, rate=2.0, material="wood"), "three|knocking"),
        (Labels("sweep", "rising", hz=100.0, hz_to=2000.0), "100 Hz to 2000 Hz"),
    ],
)
def test_audible_facts_are_mentioned_often_but_not_always(labels: Labels, pattern: str) -> None:
    assert 0.55 < share_mentioning(labels, pattern) <= 1.0


def test_captions_never_name_the_wrong_side() -> None:
    assert share_mentioning(Labels("rain", "steady", pan=-0.75), r"\bright\b") == 0
    assert share_mentioning(Labels("rain", "steady"), r"\b(left|right)\b") == 0


@pytest.mark.parametrize("text", SHOWCASE)
def test_documented_prompts_are_in_the_grammar(text: str) -> None:
    labels, rng = SHOWCASE[text], rng_of(0)
    assert not is_held_out(labels)
    maker = tag_caption if text.startswith("TrackType") else sentence
    assert text in {maker(labels, rng) for _ in range(3000)}


def test_a_scene_names_both_sources() -> None:
    scene = Labels("bell", "bell", hz=440.0, pan=-0.75, layer=Labels("rain", "steady", pan=0.75))
    rng = rng_of(0)
    for _ in range(50):
        assert re.search("bell", text := sentence(scene, rng), re.I) and re.search("rain", text, re.I)


def test_tags_of_a_scene_are_merged_by_field() -> None:
    scene = Labels("drum loop", "house", bpm=120, layer=Labels("bass line", "sub bass", key="C major", bpm=120))
    start = "TrackType: Music, Genre: House, Instruments: Drums, Bass, 120 BPM"
    assert any(tag_caption(scene, rng_of(seed)).startswith(start) for seed in range(20))


@pytest.mark.parametrize(
    ("text", "article"),
    [("A4 bell", "an"), ("bell", "a"), ("F# pad", "an"), ("80 BPM loop", "an"), ("110 Hz", "a"), ("F minor pad", "an")],
)
def test_articles_follow_the_spoken_sound(text: str, article: str) -> None:
    assert indefinite_article(text) == article


def test_training_clips_never_have_held_out_labels() -> None:
    assert not any(is_held_out(SyntheticDataset(1).labels(index)) for index in range(500))


def test_about_one_pitched_combination_in_sixteen_is_held_out() -> None:
    loops = [Labels("drum loop", name, bpm=bpm) for name in ("house", "rock", "funk") for bpm in range(60, 181)]
    assert 0.03 < np.mean([is_held_out(loop) for loop in loops]) < 0.1


def test_held_out_depends_on_pitch_and_tempo_but_not_on_pan_or_level() -> None:
    held = next(prompt.labels for prompt in held_out_prompts(1))
    assert is_held_out(replace(held, pan=0.3, level=-9.0, seconds=2.5, reverb="room"))
    assert is_held_out(Labels("rain", "steady", layer=held))
    assert not is_held_out(Labels("rain", "steady"))


def test_held_out_prompts_are_stable_and_new_to_training() -> None:
    prompts = held_out_prompts(40, seed=3)
    assert prompts[:10] == held_out_prompts(10, seed=3)
    assert all(is_held_out(prompt.labels) for prompt in prompts)
    dataset = SyntheticDataset()
    trained = {text for index in range(500) for text in dataset.captions(index, dataset.labels(index))}
    assert not trained & {prompt.text for prompt in prompts}


def test_invalid_seeds_and_indices_raise() -> None:
    with pytest.raises(RequestError, match="seed -1"):
        SyntheticDataset(-1)
    with pytest.raises(RequestError, match="number -5"):
        SyntheticDataset().sample(-5)
