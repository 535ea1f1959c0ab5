"""`soundloom eval control`."""

import json

import pytest


def test_a_report_of_mini(soundloom, tmp_path):
    done = soundloom("eval", "control", "--controls", "side,loop", "--prompts", 1, "--out", "out", "--quiet")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == ["control", "n", "hits", "share"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["side", "loop seamless", "loop on grid"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["kind"] == "control" and report["subject"]["model"] == "mini"
    assert [clip["audio"] for clip in report["clips"]] == ["clips/00000.flac", "clips/00001.flac"]
    assert report["clips"][0]["figures"]["control/side"] in (0, 1)


def test_no_clip_is_dropped(soundloom, tiny_model_folder):
    done = soundloom(
        *("eval", "control", "--model", tiny_model_folder, "--controls", "pitch", "--prompts", 2),
        *("--seconds", 1, "--steps", 1, "--json"),
    )
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["clips"]) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--controls", "mood"), "there is no control 'mood'"),
        (("--controls", "key"), "nothing to measure: key: 48 of 48 prompts have words that mini does not know"),
        (("--prompts", "0"), "prompts must be 1 or more"),
        (("--classifier", "log-mel"), "names no classes of sound"),
        (("--model", "same-s"), "not a Stable Audio model that generates"),
        (("--model", "musicgen-small"), "not a Stable Audio model that generates"),
    ],
)
def test_requests_that_make_no_sense(soundloom, arguments, sentence):
    done = soundloom("eval", "control", *arguments)
    assert done.code != 0 and sentence in done.err


@pytest.mark.parametrize(("limit", "code"), [(1.1, 1), (0, 0)])
def test_a_gate_that_fails_sets_the_exit_code(soundloom, tmp_path, limit, code):
    (tmp_path / "gates.toml").write_text(f'[[gate]]\nfigure = "control/side"\nat_least = {limit}\n')
    done = soundloom("eval", "control", "--controls", "side", "--prompts", 1, "--seconds", 1, "--gates", "gates.toml")
    assert done.code == code, done.err
