"""Invalid input gives an error message and an exit code, and leaves no files."""

import json
import math

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import files_in


def refused(result, code, *sentences):
    assert (result.code, result.out) == (code, "")
    assert "Traceback" not in result.err
    for sentence in sentences:
        assert sentence in result.err
    return True


def test_unknown_model(soundloom):
    result = soundloom("generate", "rain", "--model", "smal-music")
    assert refused(result, 2, "no model is named 'smal-music'", "did you mean small-music")
    assert refused(soundloom("generate", "rain", "--model", "models/nowhere"), 2, "there is no file or folder")
    assert refused(soundloom("generate", "rain", "--model", "large"), 2, "its weights are not public")


def test_an_autoencoder_cannot_generate(soundloom):
    assert refused(soundloom("generate", "rain", "--model", "same-s"), 2, "cannot generate")


def test_offline_download_fails(soundloom):
    result = soundloom("generate", "rain", "--model", "sm-music", "--offline", "-o", "x.wav")
    assert refused(result, 1, "is not in the cache, and downloads are disabled")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [(("--engine", "abacus"), "no engine named 'abacus'"), (("--device", "cuda:99"), "no device 'cuda:99'")],
)
@pytest.mark.parametrize("model", ["sm-music", "musicgen-small"])
def test_engines_and_devices_are_checked_before_a_download(soundloom, model, flags, sentence):
    assert refused(soundloom("generate", "rain", "--model", model, *flags), 1, sentence)


def test_limits_are_checked_before_a_download(soundloom):
    assert refused(
        soundloom("generate", "rain", "--model", "sm-music", "--seconds", 121, "--compat", "mlx"), 2, "at most 120 s"
    )


def test_limits_of_edits_are_checked_before_a_download(soundloom, tmp_path):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(8000 * 121), 8000)
    small = ("--model", "small-music", "--offline")
    assert refused(soundloom("vary", long, "rain", *small), 2, "this model varies at most 120 s in one piece")
    flags = ("--seconds", "1", "--compat", "mlx", *small)
    assert refused(soundloom("extend", long, "rain", *flags), 2, "published systems edit at most 120 s")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is empty"), (b"these are words, not sound" * 20, "cannot be read as audio"), (None, "cannot be opened")],
)
def test_files_that_are_not_audio(make, tmp_path, content, sentence):
    path = tmp_path / "words.wav"
    if content is not None:
        path.write_bytes(content)
    assert refused(make("vary", path, "rain"), 1, str(path), sentence)
    assert refused(make("generate", "rain", "--init-audio", path), 1, sentence)


def test_samples_without_a_header(make, tmp_path):
    (tmp_path / "take.raw").write_bytes(bytes(4000))
    assert refused(make("vary", tmp_path / "take.raw"), 1, "take.raw has no header with rate and format")


def test_empty_audio_and_non_finite_samples(make, tmp_path):
    silent, broken = tmp_path / "silent.wav", tmp_path / "broken.wav"
    soundfile.write(silent, np.zeros((0, 2)), 44100)
    soundfile.write(broken, np.array([0.1, math.nan, 0.2]), 44100, subtype="FLOAT")
    assert refused(make("vary", silent), 1, "has no samples")
    assert refused(make("vary", broken), 1, "has 1 values that are not finite, the first at sample 1")


@pytest.mark.parametrize(
    ("regions", "sentence"),
    [
        (("--region", "0.4,0.6"), "region 0.4 to 0.6 s ends after the clip, which is 0.5 s long"),
        (("--region", "0.1,0.3", "--region", "0.2,0.4"), "two regions overlap"),
        (("--region", "0.3,0.1"), "must start at 0 or later and end after its start"),
        (("--inpaint-start", "0.1"), "--inpaint-end"),
        (("--bars", "1-2"), "--bars requires --bpm"),
        (("--region", "0.1,0.2", "--bpm", "120"), "--bpm requires --bars"),
        (("--bars", "2", "--bpm", "120"), "is not a range of bars"),
        (("--bars", "1-2", "--bpm", "120", "--meter", "waltz"), "'waltz' is not a time signature"),
        ((), "no region was given"),
    ],
)
def test_invalid_regions(make, source, regions, sentence):
    assert refused(make("inpaint", source, "hum", *regions), 2, sentence)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--seconds", "0"), "seconds must be a number above 0"),
        (("--seconds", "-3"), "seconds must be a number above 0"),
        (("--seconds", "nan"), "seconds must be a number above 0"),
        (("--seconds", "121", "--compat", "mlx"), "generate at most 120 s with this model"),
        (("--steps", "0"), "steps must be between 1 and"),
    ],
)
def test_invalid_lengths_and_steps(soundloom, tiny_model_folder, tmp_path, flags, sentence):
    assert refused(soundloom("generate", "rain", "--model", tiny_model_folder, *flags), 2, sentence)
    assert files_in(tmp_path) == []


def test_invalid_outputs_fail_before_generation(make, tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert refused(make("generate", "rain", "-o", file / "x.wav"), 1, "could not be written")
    assert refused(make("generate", "rain", "-o", "x.aiff"), 1, "unsupported suffix", "use .wav, .flac, .ogg, .mp3")
    assert refused(make("generate", "rain", "-o", "x.ogg", "--subtype", "24"), 1, "OGG files do not support PCM_24")
    assert refused(make("generate", "rain", "--rate", "0"), 1, "do not support a rate of 0 Hz")
    assert refused(make("generate", "rain", "-o", "x.mp3", "--rate", "96000"), 1, "do not support a rate of 96000 Hz")
    assert refused(make("generate", "rain", "--true-peak", "-2"), 2, "--true-peak is the limit of --lufs")


@pytest.mark.parametrize("prompts", [("",), (" \n",), ("-p", "rain", "-p", "")])
def test_an_empty_prompt_generates_nothing(make, tmp_path, prompts):
    assert refused(make("generate", *prompts), 2, "a prompt is empty", 'soundloom generate "kick drum loop, 129 BPM"')
    assert files_in(tmp_path) == []


def test_an_empty_prompt_leaves_an_edit_to_the_source(make, source):
    assert make("generate", "", "--init-audio", source, "-o", "x.wav").code == 0
    assert make("vary", source, "", "-o", "x.wav").code == 0


def test_extend_requires_a_length(make, source):
    assert refused(make("extend", source), 2, "extend requires --seconds S")
    for length in ("0", "nan", "inf"):
        assert refused(make("extend", source, "--before", "--seconds", length), 2, "--seconds must be a number above 0")
        assert refused(
            make("generate", "--init-audio", source, "--seconds", length), 2, "--seconds must be a number above 0"
        )


def test_a_long_prompt_is_truncated_with_a_warning(make):
    made = make("generate", "kick drum loop " * 100, "--seconds", 0.1, "-o", "x.wav")
    assert made.code == 0
    assert "the prompt is longer than 256 tokens; this was truncated" in made.err


def test_debug_mode_shows_the_traceback(soundloom, monkeypatch):
    from soundloom.errors import ModelNotFoundError

    monkeypatch.setenv("SOUNDLOOM_DEBUG", "1")
    with pytest.raises(ModelNotFoundError):
        soundloom("generate", "rain", "--model", "smal-music")


def test_unknown_commands(soundloom):
    assert refused(soundloom("genrate"), 2, "there is no command 'genrate'", "did you mean generate?")
    for given in (["sett"], ["sett", "sounds"], ["edit", "--sources", "2"]):
        near = f"did you mean {'set' if given[0] == 'sett' else 'edits'}?"
        assert refused(soundloom("eval", *given), 2, f"there is no action or model '{given[0]}'", near)
    assert refused(soundloom("generate", "rain", "--color", "red"), 2, "unrecognized arguments: --color red")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("kick drum loop",), 'soundloom generate "kick drum loop"; commands: generate'),
        (("kick", "drum", "loop", "--seed", "7"), 'soundloom generate "kick drum loop"; commands'),
        (('the "real" $1',), "soundloom generate 'the \"real\" $1'; commands"),
        (("--prompt", "rain"), "expected a command, found the option '--prompt'"),
    ],
)
def test_a_prompt_instead_of_a_command_suggests_generate(soundloom, words, hint):
    assert refused(soundloom(*words), 2, hint)


@pytest.mark.parametrize(
    ("flags", "guess"),
    [
        (("--secconds", "4"), "did you mean --seconds?"),
        (("--sec", "4"), "did you mean --seconds?"),
        (("-seconds", "4"), "did you mean --seconds?"),
        (("--negative_prompt", "hum"), "did you mean --negative-prompt?"),
        (("--guidance-scale=3", "--stepz", "4"), "did you mean --guidance and --steps?"),
        (("--xyzzy",), "hint: `soundloom generate --help` lists all options"),
    ],
)
def test_an_unknown_flag_suggests_similar_ones(soundloom, flags, guess):
    assert refused(soundloom("generate", "rain", *flags), 2, "unrecognized arguments", guess)


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (("generate", "rain", "--secconds", "4"), "unrecognized arguments: --secconds 4", 2),
        (("generate", "rain", "--steps", "many"), "argument --steps: 'many' is not an integer", 2),
        (("show", "nowhere.wav"), "there is no file nowhere.wav", 1),
        (("genrate",), "there is no command 'genrate'", 2),
        (("models", "show", "smal-music"), "no model is named 'smal-music'", 2),
    ],
)
def test_errors_are_json_with_the_json_flag(soundloom, arguments, error, code):
    done = soundloom(*arguments, "--json")
    assert done.code == code
    found = json.loads(done.out)
    assert (found["error"], found["exit_code"], "hint" in found) == (error, code, True)
    assert f"error: {error}" in done.err
    if found["hint"]:
        assert f"hint: {found['hint']}" in done.err


def test_the_old_json_with_a_file_prints_no_json(soundloom):
    assert refused(soundloom("bench", "--steps", 0, "--json", "figures.json"), 2, "must be above 0")


def test_long_prompts_are_shortened_in_messages(make, soundloom):
    long = "a very long prompt " * 200
    for result in (
        soundloom(long),
        make("generate", long, "--seconds", long),
        make("generate", long, "--" + long),
        make("generate", "@" + long),
        make("inpaint", "x.wav", long, "--region", long),
        make("generate", *["word"] * 500),
        make("generate", "rain", "-o", "{" + long + "}.wav"),
        make("generate", long, "--seconds", 0.1, "--quiet", "-o", "x.wav"),
    ):
        assert max(map(len, result.err.splitlines())) < 600, result.err


@pytest.mark.parametrize(
    "arguments",
    [
        *(("generate", "rain", flag) for flag in ("--model", "--engine", "--sampler", "-o", "--init-audio", "--like")),
        *(
            ("show",),
            ("trim",),
            ("models",),
            ("models", "show"),
            ("train",),
            ("eval", "mini", "--families"),
            ("encode",),
        ),
    ],
)
def test_no_message_repeats_a_long_value_in_full(soundloom, arguments):
    result = soundloom(*arguments, "a very long value " * 300, *(["x"] if arguments == ("train",) else []))
    assert result.code in (1, 2)
    assert max(map(len, result.err.splitlines())) < 600


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ("inpaint", "hum", "--region", "0.4,0.6"),
            "end it at 0.5 s or earlier, or continue the clip first with extend",
        ),
        (("vary", "hum", "--rate", "7"), "try 8000 Hz"),
    ],
)
def test_hints_name_existing_flags(make, source, arguments, hint):
    command, *rest = arguments
    assert hint in make(command, source, *rest, "-o", "x.mp3").err


def test_the_hint_for_a_long_source_works(make, soundloom, tmp_path):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.random.default_rng(1).uniform(-0.5, 0.5, 8000 * 121), 8000)
    assert refused(make("vary", long, "rain"), 2, "trim the clip (`soundloom trim`, or --trim START,END)")
    assert make("vary", long, "rain", "--trim", "0,0.2", "-o", "x.wav").code == 0
    assert soundloom("trim", long, "--to", 0.2, "-o", "short.wav").code == 0
