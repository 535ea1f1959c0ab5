import pytest

from soundloom.config.prompt_facts import prompt_bpm


@pytest.mark.parametrize(
    ("prompt", "bpm"),
    [
        ("kick, 129 BPM", 129),
        ("BPM: 124", 124),
        ("TrackType: Music, Genre: House, BPM: 124, Key: A minor", 124),
        ("at 90bpm", 90),
        ("a drum loop at 92.5 BPM.", 92.5),
        ("bpm=140", 140),
        ("Bpm 75", 75),
        ("a loop at 110 beats per minute", 110),
        ("a 128-BPM techno loop", 128),
        ("(house:1.3), 120 bpm, BPM: 120", 120),
        ("BPM: 124.", 124),
        ("808 kick, 120 BPM", 120),
    ],
)
def test_the_tempo_of_a_prompt_is_found(prompt, bpm):
    assert prompt_bpm(prompt) == bpm


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "kick 129",
        "440 Hz",
        "120 bpmx",
        "a loop of 90 BPM, then 120 BPM",  # several
        "99999 BPM",
        "120-130 BPM",
        "0 BPM",
        "1e9 BPM",
        "abpm 120",
        "BPM: fast",
    ],
)
def test_a_prompt_without_one_tempo_has_none(prompt):
    assert prompt_bpm(prompt) is None


@pytest.mark.parametrize("part", ["1", "bpm", "1 ", "bpm ", " ", "beat ", "1-"])
def test_a_huge_prompt_takes_no_longer_per_character(part):
    assert prompt_bpm(part * 200_000) is None
