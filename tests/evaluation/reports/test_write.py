import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from soundloom.errors import ConfigError
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord, Curve, Difference, Report
from soundloom.evaluation.reports.sections import figure, worst_first
from soundloom.evaluation.reports.verdict import verdict_line
from soundloom.evaluation.reports.write import read_report, write_report
from tests.evaluation.reports.made import AWKWARD, made_report, sound, sounds

FILES = ("report.json", "report.md", "report.html")


def without_run(name: str, text: str) -> str:
    """Remove what holds date and times, which is one place of each file."""
    pattern = {
        "report.json": r'(?s)\n "run": \{.*?\n \},',
        "report.md": r"(?s)## Run\n.*?(?=\n## )",
        "report.html": r'\n<p class="run">.*</p>\n',
    }[name]
    left, count = re.subn(pattern, "", text)
    assert count == 1
    return left


def test_two_equal_runs_differ_only_in_date_and_times(tmp_path):
    report = made_report()
    write_report(replace(report, date="2026-01-01T00:00:00+00:00"), tmp_path / "a", sounds(report))
    later = replace(report, date="2027-01-01T00:00:00+00:00", cost={"seconds": 9.0, "peak_memory": 1.0})
    write_report(later, tmp_path / "b", sounds(report))
    for name in FILES:
        first, second = ((tmp_path / folder / name).read_text("utf-8") for folder in "ab")
        assert first != second
        assert without_run(name, first) == without_run(name, second)
    clips = sorted(path.name for path in (tmp_path / "a/clips").iterdir())
    assert len(clips) == len(report.clips)
    assert all((tmp_path / "a/clips" / n).read_bytes() == (tmp_path / "b/clips" / n).read_bytes() for n in clips)


def test_a_report_is_read_as_it_was_written(tmp_path):
    written = write_report(made_report(), tmp_path, sounds(made_report()))
    for path in (tmp_path, tmp_path / "report.json"):
        assert repr(read_report(path)) == repr(written).replace("('last block', 5.0)", "['last block', 5.0]")


def test_numbers_that_json_does_not_have_are_null_with_a_reason(tmp_path):
    write_report(made_report(), tmp_path)
    data = json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    metric = data["metrics"][1]
    assert metric["value"] is None
    assert metric["value_reason"] == "not a number"
    assert metric["interval"] == [None, None]
    assert metric["interval_reason"] == ["minus infinite", "infinite"]
    assert data["clips"][2]["figures"]["codec/log_mel_reason"] == "not a number"
    assert "value_reason" not in data["metrics"][0]


def test_numbers_of_numpy_are_written_and_keys_that_look_like_reasons_stay(tmp_path):
    metric = Metric("a", np.float32(1.5), np.int64(3), (np.float64(1), np.float64(2)))
    data = {"n": np.int64(3), "a": np.arange(2), "b": 1.0, "b_reason": "tired", "none": np.zeros(0)}
    write_report(replace(made_report(), metrics=(metric,), data=data), tmp_path)
    found = read_report(tmp_path)
    assert found.metrics[0].interval == (1, 2)
    assert found.data == {"n": 3, "a": [0, 1], "b": 1.0, "b_reason": "tired", "none": []}


def test_curves_may_be_empty_constant_or_not_finite(tmp_path):
    curves = (
        Curve("one", "x", "y", (1.0,), (2.0,)),
        Curve("constant", "x", "y", (1.0, 2.0), (0.0, 0.0)),
        Curve("open", "x", "y", (1.0, 2.0), (1.0, 2.0), ((-math.inf, math.inf), (1, 3))),
        Curve("empty", "x", "y", (), ()),
    )
    write_report(replace(made_report(), curves=curves), tmp_path)
    assert read_report(tmp_path).curves == curves
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.count("<figure>") == 3
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", html))


def test_names_are_escaped_and_files_are_numbered(tmp_path):
    report = write_report(made_report(), tmp_path, sounds(made_report()))
    html, text = ((tmp_path / name).read_text("utf-8") for name in ("report.html", "report.md"))
    assert "<b>" not in html
    assert "häßlich/雨 &lt;b&gt;&amp;|" in html
    assert "häßlich/雨 &lt;b>&\\|" in text
    assert report.clips[1].id == AWKWARD
    assert report.clips[1].audio == "clips/00001.flac"
    assert html.count("data:image/png;base64,") == len(report.clips)


def test_small_files_are_embedded_on_request(tmp_path):
    write_report(made_report(), tmp_path, sounds(made_report()), embed=True)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.count("data:audio/flac;base64,") == 5
    assert "http" not in re.sub(r'"http://www.w3.org/2000/svg"|http-equiv', "", html)


def test_sound_files_in_the_folder_are_linked_and_others_copied(tmp_path):
    from soundloom.audio.write import write_audio

    folder, elsewhere = tmp_path / "out", tmp_path / "雨 1.wav"
    folder.mkdir()
    for path in (folder / "kept.wav", elsewhere):
        write_audio(path, *sound(1))
    report = made_report(clips=2)
    paths = dict(zip(sounds(report), (folder / "kept.wav", elsewhere), strict=True))
    written = write_report(report, folder, paths)
    assert [clip.audio for clip in written.clips] == ["kept.wav", "clips/00001.wav"]
    assert (folder / "clips/00001.wav").read_bytes() == elsewhere.read_bytes()


@pytest.mark.parametrize(("seconds", "rate"), [(0.3, 8000), (0.001, 44100), (1200.0, 4000)])
def test_clips_of_any_length_get_a_picture(tmp_path, seconds, rate):
    clip = ClipRecord("one")
    write_report(
        replace(made_report(1), clips=(clip,)),
        tmp_path,
        {("one", None): sound(0, seconds, rate)},
    )
    assert "data:image/png;base64," in (tmp_path / "report.html").read_text("utf-8")


def test_a_missing_or_silent_sound_does_not_stop_the_report(tmp_path):
    clips = (ClipRecord("gone", audio="clips/gone.wav"), ClipRecord("empty"), ClipRecord("silent"))
    silence = np.zeros((2, 8000), np.float32)
    audio = {("empty", None): (silence[:, :0], 8000), ("silent", None): (silence, 8000)}
    written = write_report(replace(made_report(), clips=clips), tmp_path, audio)
    assert "no samples" in written.clips[1].failures[0]
    assert "clips/gone.wav cannot be opened" in (tmp_path / "report.html").read_text("utf-8")


def test_a_report_may_be_empty(tmp_path):
    write_report(Report("set", {}, {}, ()), tmp_path)
    assert read_report(tmp_path).clips == ()


def test_failed_clips_come_first_then_the_worst():
    report = made_report(40)
    order = worst_first(report)
    assert order[0].failures
    only = replace(report, metrics=report.metrics[:1])
    scores = [clip.figures["align/score"] for clip in worst_first(only)[1:]]
    assert scores == sorted(scores)


def test_the_verdict_names_what_was_missed():
    assert verdict_line(made_report()) == "1 of 2 goals reached; missed: codec/log_mel. 1 of 5 clips failed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no report"),
        ("{", "as JSON"),
        ("[" * 100_000, "as JSON"),
        ('{"schema": 99}', "schema 1, found 99"),
        ('{"schema": 1, "kind": "set"}', "not a complete report: KeyError"),
    ],
)
def test_a_damaged_report_is_refused_in_one_sentence(tmp_path, text, message):
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_report(path)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.12345, "", "0.1235"),
        (3.0, "", "3"),
        (78.7, "", "78.700"),
        (0.5, "%", "50.0 %"),
        (math.nan, "dB", "not a number"),
    ],
)
def test_a_figure_has_its_unit_and_no_needless_digits(value, unit, text):
    assert figure(value, unit) == text


@pytest.mark.parametrize(
    ("name", "recipe", "reference", "count", "text"),
    [
        ("fad/openl3/stability-2024", "stability-2024", "songdescriber-instrumental", 586, "78.7 (Stable Audio 2)"),
        ("fad/openl3/stability-2024", "stability-2024", "songdescriber-instrumental", 500, "not comparable"),
        ("fad/openl3/stability-2024", "stability-2024", "mine", 586, "not comparable"),
        ("fad/clap-music-speech/stability-2026", "stability-2026", "songdescriber-instrumental", 586, "not comparable"),
        ("edit/kept_samples", "soundloom", "mine", 3, ""),
    ],
)
def test_published_figures_stand_only_beside_comparable_ones(name, recipe, reference, count, text):
    from soundloom.evaluation.reports.anchors import anchor_text

    metric = Metric(name, 1.0, count, recipe="0123")
    report = Report("set", {}, {"reference": reference}, (metric,), {"0123": {"name": recipe}})
    assert anchor_text(metric, report).startswith(text)
    assert bool(anchor_text(metric, report)) == bool(text)


def test_plots_name_the_subject_and_undecided_is_not_good(tmp_path):
    compared = [
        Difference("quality", 0.5, 0.6, 0.1, 9, "undecided", (-0.1, 0.3), direction="higher", subject=name)
        for name in ("steps=4", "steps=8")
    ]
    write_report(replace(made_report(), comparison=tuple(compared), gates=(), clips=()), tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "steps=4: quality" in text
    assert "steps=8: quality" in text
    assert '<p class="verdict neutral">2 undecided</p>' in text
