"""Blends, templates, random prompts, and weights in names, on the command line."""

import json

import numpy as np
import pytest
import soundfile

from soundloom.audio.metadata import read_record
from soundloom.cli.options.old_spellings import with_current_spellings
from soundloom.config.random_prompts import random_prompt
from tests.cli.conftest import files_in

SHORT = ("--seconds", 0.2, "--seed", 7)


def samples(path):
    return soundfile.read(path)[0]


def test_weights_are_not_part_of_names_and_titles(make, tmp_path):
    made = make("generate", "(warm:1.3) piano", *SHORT)
    assert made.out == "warm-piano-7.wav\n"
    assert soundfile.SoundFile("warm-piano-7.wav").title == "warm piano"
    assert read_record("warm-piano-7.wav")["request"]["prompt"] == "(warm:1.3) piano"
    made = make("generate", "(warm:1.3) piano", "--prompt-b", "(rain:2)", *SHORT, "-o", "{prompt}.wav")
    assert made.out == "warm-piano-rain.wav\n"
    assert files_in(tmp_path) == ["warm-piano-7.wav", "warm-piano-rain.wav"]


def test_a_blend_is_in_the_record_and_repeats_with_like(make):
    for mix, recorded in (("0.4", 0.4), ("0:0, 0.2:1", [[0.0, 0.0], [0.2, 1.0]])):
        first = make("generate", "rain", "--prompt-b", "bell", "--mix", mix, *SHORT, "-o", "a.wav", "--json")
        (clip,) = json.loads(first.out)["clips"]
        assert (clip["request"]["prompt_b"], clip["request"]["mix"]) == ("bell", recorded)
        assert make("generate", "--like", "a.wav", "-o", "b.wav").code == 0
        assert np.array_equal(samples("a.wav"), samples("b.wav"))
        assert make("generate", "--like", "a.wav", "--mix", "1", "-o", "c.wav").code == 0
        assert make("generate", "bell", *SHORT, "-o", "d.wav").code == 0
        assert np.array_equal(samples("c.wav"), samples("d.wav"))


def test_each_prompt_may_have_its_second_one(make):
    flags = ("--prompt-b", "a", "--prompt-b", "b", "--mix", "0.2", "--json", *SHORT)
    report = json.loads(make("generate", "-p", "rain", "-p", "bell", *flags).out)
    assert [clip["request"]["prompt_b"] for clip in report["clips"]] == ["a", "b"]
    assert [clip["request"]["mix"] for clip in report["clips"]] == [0.2, 0.2]


@pytest.mark.parametrize("edit", [("vary",), ("inpaint", "--region", "0.1,0.2"), ("extend", "--seconds", "0.2")])
def test_edits_take_a_second_prompt(make, source, edit):
    made = make(edit[0], source, "rain", *edit[1:], "--prompt-b", "bell", "--mix", "0:0,0.4:1", "--json", "--seed", 1)
    assert json.loads(made.out)["clips"][0]["request"]["mix"] == [[0.0, 0.0], [0.4, 1.0]]


def test_a_template_is_shown_before_it_is_used(make):
    values = ("--template", "music", "genre=house", "bpm=124", "key=A minor")
    prompt = "TrackType: Music, VocalType: Instrumental, Genre: House, Key: A minor, 124 BPM"
    for more, expected in (((), prompt), (("a slow tune",), f"{prompt}, a slow tune")):
        made = make("generate", *more, *values, *SHORT, "--quiet", "--json")
        assert made.err.startswith(f"prompt: {expected}\n")
        assert json.loads(made.out)["clips"][0]["request"]["prompt"] == expected
    both = make("generate", "-p", "a", "-p", "b", *values, *SHORT)
    assert both.err.startswith(f"prompt: {prompt}, a\nprompt: {prompt}, b\n")


def test_values_follow_their_template():
    given = [
        "generate",
        "--template",
        "music",
        "genre=house",
        "key=A minor",
        "a tune",
        "x=y",
        "--template=sfx",
        "sound=a",
    ]
    joined = ["generate", "--template", "music\ngenre=house\nkey=A minor", "a tune", "x=y", "--template=sfx\nsound=a"]
    assert with_current_spellings(given) == joined


def test_mini_gets_the_captions_that_it_was_trained_on(soundloom):
    made = soundloom("generate", "--template", "sfx", "sound=rain", *SHORT, "--quiet")
    assert made.err == "prompt: TrackType: SFX, Sound: Rain\n"  # and no warning about unknown words


def test_random_prompts_depend_on_the_seeds(soundloom):
    for flags, seeds in ((("--seed", 7, "--count", 3), (7, 8, 9)), (("--seed", "7,20"), (7, 20))):
        made = soundloom("generate", "--surprise", "--seconds", 0.2, *flags, "--quiet", "--json")
        prompts = [random_prompt("mini", seed) for seed in seeds]
        assert made.err == "".join(f"prompt: {prompt}\n" for prompt in prompts)
        clips = json.loads(made.out)["clips"]
        assert [(clip["seed"], clip["request"]["prompt"]) for clip in clips] == list(zip(seeds, prompts, strict=True))


def test_without_a_seed_a_random_prompt_is_still_recorded(soundloom):
    made = soundloom("generate", "--surprise", "--seconds", 0.2, "--json", "--quiet")
    (clip,) = json.loads(made.out)["clips"]
    assert clip["request"]["prompt"] == random_prompt("mini", clip["seed"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rain", "--mix", "0.5"), "a mix needs a second prompt"),
        (("rain", "--prompt-b", "x", "--mix", "2"), "a mix must be between 0 and 1, found 2"),
        (("rain", "--prompt-b", "x", "--mix", "nan"), "a mix must be between 0 and 1"),
        (("rain", "--prompt-b", "x", "--mix", ""), "the mix '' is neither a number nor a curve"),
        (("rain", "--prompt-b", "x", "--mix", "1:0,0:1"), "the times of a mix curve must ascend"),
        (("rain", "-p", "b", "--prompt-b", "x", "--prompt-b", "y", "--prompt-b", "z"), "prompt"),
        (("(at 10:30)",), "the weight 30 of 'at 10' must be between -10 and 10"),
        (("--template", "jazz"), "there is no template named 'jazz'"),
        (("--template", "music", "color=red"), "the template music has no key 'color'"),
        (("--template", "music", "bpm=0"), "bpm must be a number from 20 to 400"),
        (("genre=x", "--template", "music"), "'genre=x' is not part of the template"),
        (("rain", "--surprise"), "--surprise chooses the prompt, but there is one already"),
        (("--template", "sfx", "--surprise"), "--surprise chooses the prompt"),
        (("--surprise", "--seed=-5"), "a seed must be between 0 and"),
        (("--surprise", "--count", "0"), "--count must be 1 or more"),
        (("--surprise", "--count", "999999999"), "one command generates at most 100,000 clips"),
        (("(loud:1.5)", "--model", "musicgen-small"), "MusicGen has no prompt weights"),
        (("rain", "--prompt-b", "x", "--model", "musicgen-small"), "musicgen-small has no use for --prompt-b"),
        (("--template", "music", "--model", "musicgen-small"), "musicgen-small has no use for --template"),
    ],
)
def test_nonsense_is_rejected_before_any_work(soundloom, tmp_path, arguments, sentence):
    made = soundloom("generate", *arguments)
    assert (made.code, made.out) == (2, "")
    assert made.err.startswith(f"error: {sentence}") or sentence == "prompt"
    assert made.err.count("error:") == 1
    assert files_in(tmp_path) == []
