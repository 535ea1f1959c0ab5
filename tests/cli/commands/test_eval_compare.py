import json

import pytest

from soundloom.cli.main import main
from soundloom.evaluation.reports.write import read_report, write_report
from tests.evaluation.reports.made import made_report


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, seed, shift in (("a", 0, 0.0), ("same", 0, 0.0), ("worse", 0, -0.05)):
        write_report(made_report(60, seed, name, shift), folder / name)
    write_report(made_report(60, kind="edits"), folder / "edits")
    return folder


def gates(reports, text):
    (reports / "gates.toml").write_text(f"[[gate]]\n{text}\n")
    return ["--gates", str(reports / "gates.toml")]


def run(reports, *arguments):
    given = [str(reports / name) if (reports / name).is_dir() else name for name in arguments]
    return main(["eval", "compare", *given])


def test_the_table_names_verdicts(reports, capsys):
    assert run(reports, "a", "worse") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["figure", "verdict"]
    assert lines[1].split()[:2] == ["align/score", "worse"]
    assert lines[-1] == "2 same, 1 worse"


def test_several_reports_are_one_table(reports, capsys):
    assert run(reports, "a", "same", "worse", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(item["subject"], item["verdict"]) for item in found["comparison"][::3]] == [
        ("same", "same"),
        ("worse", "worse"),
    ]


@pytest.mark.parametrize(
    ("other", "gate", "code"),
    [
        ("same", 'figure = "align/score"', 0),
        ("worse", 'figure = "align/score"', 1),
        ("worse", 'figure = "align/score"\nmargin = 0.2', 0),
        ("worse", 'figure = "nothing"', 2),
        ("edits", 'figure = "align/score"', 2),
        ("same", 'figure = "failures"\nat_most = 0', 1),
    ],
)
def test_the_exit_code_says_whether_a_gate_failed(reports, capsys, other, gate, code):
    assert run(reports, "a", other, *gates(reports, gate), "--out", str(reports / "out")) == code
    if code < 2:
        assert (reports / "out/report.html").is_file()
        assert [gate.result for gate in read_report(reports / "out").gates] == [["passed", "failed"][code]]
    assert ("gate failed: " in capsys.readouterr().err) == (code == 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "two reports or more"),
        (["a", "none"], "there is no report none/report.json"),
        (["a", "same", "--margin", "x"], "is not FIGURE=VALUE"),
        (["a", "same", "--margin", "x=-1"], "is not FIGURE=VALUE"),
        (["a", "same", "--gates", "none.toml"], "cannot read none.toml as TOML: No such file or directory"),
    ],
)
def test_senseless_requests_are_one_sentence(reports, capsys, arguments, message):
    assert run(reports, *arguments) > 0
    assert message in capsys.readouterr().err
