"""`soundloom eval edits` with real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.config.musicgen.model import published_musicgen
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from tests.evaluation.edits.sounds import music


def write_sounds(folder):
    """Write sounds of several rates and channels with captions, a silent one, a short one, and a damaged one."""
    folder.mkdir()
    for number, (rate, channels) in enumerate(((44100, 2), (8000, 1), (48000, 2), (22050, 1))):
        path = folder / f"klang ü {number}.wav"
        soundfile.write(path, music(number, 2.5, rate, channels).T, rate, "FLOAT")
        path.with_suffix(".txt").write_text(f"a piano note number {number}")
    soundfile.write(folder / "silent.wav", np.zeros(44100), 44100)
    soundfile.write(folder / "short.wav", np.full(900, 0.1), 8000)
    (folder / "damaged.wav").write_bytes(b"RIFF")


def read_report(folder):
    return json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_edits_of_real_files_are_measured(soundloom, tmp_path):
    write_sounds(tmp_path / "sounds")
    done = soundloom(
        *("eval", "edits", "--sounds", tmp_path / "sounds", "--seeds", 1, "--gaps", "0.4", "--levels", "0.3,0.8"),
        *("--steps", 4, "--precisions", "bf16", "--embedder", "log-mel", "--out", tmp_path / "report", "-q"),
    )
    assert done.code == 0, done.err
    report = read_report(tmp_path / "report")
    metrics = {metric["name"]: metric for metric in report["metrics"]}
    assert metrics["edit/changed_samples"]["value"] == 0
    assert metrics["edit/honored"]["value"] == 1
    assert metrics["loop/changed_samples"]["value"] == 0
    assert metrics["precision/bf16/velocity_cosine/0.5"]["value"] > 0.99
    assert {"region/fad/0.4s/log-mel/soundloom", "codec/seam/flux", "variation/spearman_chroma"} <= set(metrics)
    failures = {clip["id"]: clip["failures"] for clip in report["clips"] if clip["failures"]}
    assert failures["silent.wav"] == ["silent"]
    assert failures["short.wav"] == ["too short"]
    assert "damaged.wav" in failures
    assert "3 sounds cannot be edited" in done.err
    saved = [clip["audio"] for clip in report["clips"] if clip["audio"]]
    assert len(saved) == 4 * (3 + 1 + 5)
    assert all((tmp_path / "report" / name).is_file() for name in saved)


@pytest.mark.slow
def test_two_runs_give_the_same_figures(soundloom, tmp_path):
    reports = []
    for name in ("a", "b"):
        flags = ("--sources", 2, "--seeds", 1, "--seconds", 1.5, "--gaps", "0.4", "--parts", "regions", "--steps", 2)
        assert soundloom("eval", "edits", *flags, "--embedder", "log-mel", "--out", tmp_path / name).code == 0
        report = read_report(tmp_path / name)
        reports.append({key: report[key] for key in ("metrics", "clips", "data", "recipes")})
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_an_editor_is_measured_in_int4_too(soundloom, tmp_path):
    editor = make_musicgen(tiny_musicgen(published_musicgen("large", instruct=True)), tmp_path / "editor")
    flags = ("--precisions", "fp16", "int4", "--sources", 1, "--seeds", 2, "--seconds", 0.5, "--instruction", "No bass")
    done = soundloom("eval", "edits", "--model", editor, *flags, "--out", tmp_path / "report", "-q")
    assert done.code == 0, done.err
    report = read_report(tmp_path / "report")
    values = {metric["name"]: metric["value"] for metric in report["metrics"]}
    assert values["precision/fp16/logits_cosine/1"] > values["precision/int4/logits_cosine/1"] > 0.9
    assert values["precision/int4/equal_tokens"] < 1
    assert {one["subject"] for one in report["comparison"]} == {"int4 against fp16"}
    assert "reads no text" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "instruct-musicgen", "--recipe", "seed-clap"), "soundloom eval fetch clap-htsat-unfused"),
        (("--model", "instruct-musicgen", "--gaps", "1"), "--gaps is for Stable Audio models"),
        (("--instruction", "Only drums"), "--instruction is for editors"),
        (("--no-fp32",), "--no-fp32 is for editors"),
        (("--precisions", "int4"), "no precision is named 'int4'"),
        (("--parts", "regions,choruses"), "there is no part 'choruses'"),
        (("--levels", "0.5,1.5"), "--levels between 0 and 1"),
        (("--gaps", "0"), "--gaps must be above 0"),
        (("--seeds", "0"), "--seeds must be 1 or more"),
        (("--sounds", "nowhere"), "there is no nowhere"),
        (("--model", "same-s"), "autoencoder alone"),
        (("--recipe", "no-such"), "there is no recipe 'no-such'"),
    ],
)
def test_requests_that_make_no_sense_are_refused_at_once(soundloom, arguments, sentence):
    done = soundloom("eval", "edits", *arguments)
    assert done.code == 2, done.err
    assert sentence in done.err
