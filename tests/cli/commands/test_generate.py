import json
import re
import sys

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.cli.commands.audio.generate import Options
from soundloom.cli.options.flags import parse
from soundloom.pipeline.stable_audio.model import Model
from tests.cli.conftest import files_in


def test_stdout_has_only_the_path(make, tmp_path):
    made = make("generate", "Rain, on tin!", "--seconds", 0.2, "--seed", 7)
    assert (made.code, made.out) == (0, "rain-on-tin-7.wav\n")
    assert soundfile.info("rain-on-tin-7.wav").frames == 8820
    assert re.search(r"seed 7 · 1 steps of pingpong · torch on \w+", made.err)
    assert all(re.search(rf"{stage} +\d+\.\d\d s", made.err) for stage in ("text", "sample", "decode", "total"))
    assert files_in(tmp_path) == ["rain-on-tin-7.wav"]


def test_published_spellings_are_equivalent(soundloom, tiny_model_folder):
    ours = ("--model", tiny_model_folder, "--seconds", "0.2", "--cfg", "2", "--precision", "fp32")
    theirs = ("--dit", tiny_model_folder, "--duration", "0.2", "--cfg-scale", "2", "--dit-dtype", "fp32")
    common = ("--seed", "5", "--steps", "2", "--negative-prompt", "hum", "--apg", "0.5", "--cfg-interval", "0,0.9")
    assert soundloom("generate", "bell", *ours, *common, "-o", "ours.wav", "--decoder", "same-s").code == 0
    assert soundloom("generate", "--prompt", "bell", *theirs, *common, "--out", "theirs.wav", "--no-half").code == 0
    assert read_record("ours.wav") == read_record("theirs.wav")
    guidance = read_record("ours.wav")["request"]["guidance"]
    assert guidance == {"scale": 2.0, "apg": 0.5, "interval": [0.0, 0.9]}
    assert np.array_equal(soundfile.read("ours.wav")[0], soundfile.read("theirs.wav")[0])


def test_all_published_flags_parse():
    flags = "--prompt p --negative-prompt n --dit sm-music --decoder same-s --seconds 4 --steps 8 --seed -1 --cfg 1"
    flags += " --apg 1 --init-audio a.wav --init-noise-level 0.9 --inpaint-range 1,2 --inpaint-start 3 --inpaint-end 4"
    flags += " --dit-dtype fp16 --free-models --chunked-decode --batch-size 2 --out o.wav --play"
    options = parse(Options, flags.split(), "sa3")
    assert options.regions() == [(1, 2), (3, 4)]
    assert (options.model_name, options.precision, options.count, options.noise) == ("sm-music", "fp16", 2, 0.9)


def test_several_prompts_are_saved_to_a_new_folder(make):
    made = make(
        "generate", "rain", "-p", "bell", "--seconds", "0.2,0.1", "--seed", 3, "-o", "new/deep/x.flac", "--json"
    )
    report = json.loads(made.out)
    assert report["files"] == ["new/deep/x_0.flac", "new/deep/x_1.flac"]
    assert [(clip["seconds"], clip["seed"], clip["request"]["prompt"]) for clip in report["clips"]] == [
        (0.2, 3, "rain"),
        (0.1, 4, "bell"),
    ]
    assert report["total_seconds"] >= sum(stage["seconds"] for stage in report["stages"].values()) > 0
    assert [soundfile.info(path).duration for path in report["files"]] == [0.2, 0.1]


def test_count_increments_the_seed(make):
    made = make("generate", "rain", "--seconds", 0.1, "--count", 2, "--seed", 9, "--quiet")
    assert made.out.split() == ["rain-9.wav", "rain-10.wav"]
    assert "seed" not in made.err


def test_only_named_files_are_overwritten(make, tmp_path):
    (tmp_path / "rain-1.wav").write_bytes(b"mine")
    assert make("generate", "rain", "--seconds", 0.1, "--seed", 1).out == "rain-1-2.wav\n"
    assert (tmp_path / "rain-1.wav").read_bytes() == b"mine"
    assert make("generate", "rain", "--seconds", 0.1, "-o", "rain-1.wav").code == 0
    assert soundfile.info("rain-1.wav").frames == 4410
    refused = make("generate", "rain", "--seconds", 0.1, "-o", "rain-1.wav", "--no-overwrite")
    assert (refused.code, refused.out) == (1, "")
    assert "rain-1.wav exists already" in refused.err


def test_a_file_that_appears_during_generation_is_not_overwritten(make, tmp_path, monkeypatch):
    ours, theirs = tmp_path / "rain-1.wav", b"of a run beside this one"
    made = Model.execute

    def run(*args, **options):
        ours.write_bytes(theirs)
        return made(*args, **options)

    monkeypatch.setattr(Model, "execute", run)
    assert make("generate", "rain", "--seconds", 0.1, "--seed", 1).out == "rain-1-2.wav\n"
    assert (ours.read_bytes(), soundfile.info("rain-1-2.wav").frames) == (theirs, 4410)


def test_like_reuses_settings_and_flags_override_them(make, soundloom, tiny_model_folder):
    first = ("--seconds", "0.2", "--seed", "4", "--sampler", "euler", "--shift", "flux", "--crossfade", "0.02")
    make("generate", "a drum", *first, "-o", "first.wav")
    again = soundloom("generate", "--like", "first.wav", "--model", tiny_model_folder, "-o", "again.wav")
    assert again.code == 0
    assert np.array_equal(soundfile.read("first.wav")[0], soundfile.read("again.wav")[0])
    soundloom("generate", "--like", "first.wav", "--model", tiny_model_folder, "--seed", "5", "-o", "other.wav")
    one, other = read_record("again.wav")["request"], read_record("other.wav")["request"]
    assert other == {**one, "seed": 5}


def test_like_of_a_file_without_a_request_says_so(soundloom, tmp_path):
    Clip(np.zeros((2, 4410), np.float32), 44100, {"mode": "residual"}).save(tmp_path / "left.wav")
    refused = soundloom("generate", "--like", "left.wav")
    assert (refused.code, refused.out) == (2, "")
    assert "left.wav has no request in its metadata" in refused.err


def test_like_needs_the_folder_of_an_unknown_model(make, soundloom):
    make("generate", "rain", "--seconds", 0.1, "-o", "first.wav")
    refused = soundloom("generate", "--like", "first.wav", "-o", "again.wav")
    assert (refused.code, refused.out) == (2, "")
    assert "first.wav was generated with an unknown model called tiny" in refused.err
    found = read_record("first.wav")["model_hash"]
    assert f"pass its folder with --model; the hash of its weights is {found}" in refused.err


def test_like_of_an_edit_needs_its_source(make, soundloom, source, tiny_model_folder):
    make("inpaint", source, "hum", "--region", "0.1,0.2", "--seed", 2, "-o", "edit.wav")
    refused = soundloom("generate", "--like", "edit.wav", "--model", tiny_model_folder)
    assert refused.code == 2
    assert "pass that file with --init-audio" in refused.err
    again = ("--like", "edit.wav", "--init-audio", source, "--model", tiny_model_folder, "-o", "again.wav")
    assert soundloom("generate", *again).code == 0
    assert np.array_equal(soundfile.read("edit.wav")[0], soundfile.read("again.wav")[0])


def test_output_flags_apply_to_the_file(make, tmp_path):
    made = make(
        *("generate", "rain", "--seconds", 0.2, "-o", "x.wav"),
        *("--subtype", "float", "--rate", 22050, "--lufs", -30, "--sidecar"),
    )
    assert made.code == 0
    info = soundfile.info("x.wav")
    assert (info.subtype, info.samplerate, info.frames) == ("FLOAT", 22050, 4410)
    assert np.abs(soundfile.read("x.wav")[0]).max() < 0.5
    assert json.loads((tmp_path / "x.json").read_text())["request"]["prompt"] == "rain"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in player is a shell script")
def test_play_uses_the_loudness_of_the_file(make, tmp_path, monkeypatch):
    for name in ("aplay", "afplay"):
        (tmp_path / name).write_text(f'#!/bin/sh\nfor file; do :; done; /bin/cp "$file" {tmp_path}/heard.wav\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make("generate", "rain", "--seconds", 0.2, "--lufs", -30, "-o", "x.wav", "--play").code == 0
    assert np.allclose(soundfile.read("heard.wav")[0], soundfile.read("x.wav")[0], rtol=0, atol=2**-14)


def test_a_sidecar_replaces_only_sidecars_of_soundloom(make, tmp_path):
    wish, sidecar = ("generate", "rain", "--seconds", 0.1, "--sidecar", "-o", "loop.wav"), tmp_path / "loop.json"
    for foreign in ('{"caption": "rain"}', "[1, 2]", "words"):
        sidecar.write_text(foreign)
        refused = make(*wish)
        assert (refused.code, sidecar.read_text()) == (2, foreign)
        assert "loop.json, where --sidecar would write, is not a soundloom record" in refused.err
    assert make(*wish, "--overwrite").code == 0
    assert make(*wish, "--seed", 5).code == 0
    assert json.loads(sidecar.read_text())["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "there is no prompt"),
        (("rain", "--decoder", "same-l"), "generates latents of same-s, not same-l"),
        (("rain", "--sampler", "euclid"), "no sampler named 'euclid'"),
        (("rain", "-p", "bell", "--seconds", "1,2,3"), "prompt has 2 values for 3 clips"),
        (("rain", "--count", "0"), "--count must be 1 or more"),
        (("rain", "--seed", "-5", "--count", "2"), "a seed must be between 0"),
        (("rain", "--noise", "0.5"), "need a source to edit"),
        (("rain", "--like", "nothing.wav"), "--like: there is no file nothing.wav"),
        (("rain", "--engine", "abacus"), "no engine named 'abacus'"),
        (("rain", "--precision", "fp7"), "invalid choice: 'fp7'"),
    ],
)
def test_invalid_requests_fail_without_output(make, tmp_path, arguments, sentence):
    refused = make("generate", *arguments)
    assert refused.code in (1, 2)
    assert refused.out == ""
    assert sentence in refused.err
    assert "Traceback" not in refused.err
    assert files_in(tmp_path) == []
