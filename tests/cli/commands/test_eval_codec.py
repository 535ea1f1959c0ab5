"""`soundloom eval codec`."""

import json

import numpy as np
import pytest
import soundfile


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for hz in (110, 220, 440):
        soundfile.write(folder / f"{hz}.wav", 0.5 * np.sin(2 * np.pi * hz * np.arange(20000) / 44100), 44100)
    return folder


def test_a_report_of_the_codec_of_mini(soundloom, sounds, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    done = soundloom("eval", "codec", "--sounds", sounds, "--out", "out", "--limit", 2, "--quiet")
    assert done.code == 0, done.err
    for name in ("codec/log_mel", "codec/silence_peak", "codec/chunked_difference", "fad/log-mel/soundloom"):
        assert name in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [clip["id"] for clip in report["clips"]] == ["110.wav", "220.wav"]
    assert all((tmp_path / "out" / clip["audio"]).is_file() for clip in report["clips"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "eval codec needs --sounds"),
        (("--sounds", "nowhere"), "there is no nowhere"),
        (("--sounds", "sounds", "--seconds", "0"), "seconds must be a number above 0"),
        (("--sounds", "sounds", "--embedder", "ears"), "there is no embedder 'ears'"),
    ],
)
def test_requests_that_make_no_sense(soundloom, sounds, arguments, sentence):
    done = soundloom("eval", "codec", *arguments)
    assert done.code != 0 and sentence in done.err


@pytest.mark.parametrize(("limit", "code"), [(0, 1), (100, 0)])
def test_a_gate_that_fails_sets_the_exit_code(soundloom, sounds, tmp_path, monkeypatch, limit, code):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "gates.toml").write_text(f'[[gate]]\nfigure = "codec/log_mel"\nat_most = {limit}\n')
    done = soundloom("eval", "codec", "--sounds", sounds, "--limit", 2, "--quiet", "--gates", "gates.toml")
    assert done.code == code, done.err
