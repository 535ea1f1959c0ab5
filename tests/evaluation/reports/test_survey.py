import json

import numpy as np
import pytest
import soundfile

from soundloom.cli.main import main
from soundloom.errors import ConfigError
from soundloom.evaluation.reports.bradley_terry import strengths, win_matrix
from soundloom.evaluation.reports.compare import Source
from soundloom.evaluation.reports.survey import read_survey, survey_report
from soundloom.evaluation.reports.trials import make_trials, matched_gains
from soundloom.evaluation.reports.write import read_report, write_report
from tests.evaluation.reports.made import made_report, sounds

LEVELS = {"a": 1.0, "b": 0.5, "c": 0.25}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, level in LEVELS.items():
        report = made_report(12, name=f"model {name}")
        audio = {key: (samples * level, rate) for key, (samples, rate) in sounds(report).items()}
        write_report(report, folder / name, audio)
    return folder


@pytest.fixture
def folders(reports, tmp_path):
    """Return a folder with links to three reports."""
    for name in LEVELS:
        (tmp_path / name).symlink_to(reports / name)
    return tmp_path


def sources(folders, names="ab"):
    return [Source.read(folders / name) for name in names]


def answer(folder, listener, choose):
    """Write a file of answers; `choose` returns the answer to a trial from the numbers of its reports."""
    survey = read_survey(folder)
    answers = [{"trial": t.id, **choose([version.report for version in t.versions])} for t in survey.trials]
    path = folder / "answers" / f"{listener}.json"
    path.write_text(json.dumps({"survey": survey.id, "listener": listener, "answers": answers}))
    return path


def prefer(report):
    return lambda shown: {"choice": shown.index(report) + 1 if report in shown else 0}


def test_sounds_of_a_trial_are_equally_loud_and_their_names_say_nothing(folders):
    trials = make_trials(sources(folders), folders / "out")
    assert len(trials) == 12
    levels = []
    for trial in trials:
        for version in trial.versions:
            audio, _ = soundfile.read(folders / "out" / version.file)
            levels.append(np.sqrt((audio**2).mean()) * version.gain)
            assert not set("ab").issuperset(version.file) and "model" not in version.file
    pairs = np.array(levels).reshape(-1, 2)
    assert np.abs(20 * np.log10(pairs[:, 0] / pairs[:, 1])).max() < 0.2
    orders = {tuple(version.report for version in trial.versions) for trial in trials}
    assert orders == {(0, 1), (1, 0)}
    assert make_trials(sources(folders), folders / "again") == trials


def test_pairs_of_three_reports_are_equally_frequent(folders):
    trials = make_trials(sources(folders, "abc"), folders / "out", limit=6)
    pairs = sorted(tuple(sorted(version.report for version in trial.versions)) for trial in trials)
    assert pairs == [(0, 1)] * 2 + [(0, 2)] * 2 + [(1, 2)] * 2
    marks = make_trials(sources(folders, "abc"), folders / "marks", "marks", 3)
    assert [sorted(version.report for version in trial.versions) for trial in marks] == [[0, 1, 2]] * 3


def test_short_and_silent_sounds_have_gains_too(tmp_path):
    time = np.arange(2400) / 8000  # 0.3 s, too short for a loudness
    for name, audio in (("loud", np.sin(time * 3000)), ("soft", 0.5 * np.sin(time * 3000)), ("silent", 0 * time)):
        soundfile.write(tmp_path / f"{name}.wav", audio, 8000)
    assert matched_gains([tmp_path / "loud.wav", tmp_path / "soft.wav"]) == pytest.approx([0.5, 1.0], abs=0.01)
    assert matched_gains([tmp_path / "silent.wav", tmp_path / "soft.wav"]) == [1.0, 1.0]


def test_reports_without_sounds_have_no_trials(tmp_path):
    for name in "ab":
        write_report(made_report(), tmp_path / name)
    assert make_trials(sources(tmp_path), tmp_path / "out") == []
    assert main(["eval", "survey", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "s")]) == 2


def test_the_page_of_a_survey_does_not_name_reports(folders):
    page, survey = folders / "s/page", folders / "s"
    assert main(["eval", "survey", *(str(folders / name) for name in "abc"), "--out", str(survey)]) == 0
    text = (page / "index.html").read_text("utf-8")
    assert "model " not in text
    assert "data-key" not in text
    assert len(list((page / "trials").iterdir())) == 24


def test_answers_become_shares_and_strengths(folders, capsys):
    survey = folders / "s"
    assert main(["eval", "survey", *(str(folders / n) for n in "ab"), "--out", str(survey), "--trials", "8"]) == 0
    for number in range(12):
        answer(survey, f"listener {number}", prefer(1 if number < 10 else 0))
    assert main(["eval", "survey", str(survey), "--out", str(folders / "report")]) == 0
    report = read_report(folders / "report")
    values = {metric.name: metric for metric in report.metrics}
    assert values["survey/preferred/model b"].value == pytest.approx(80 / 96)
    strength = values["survey/strength/model b"]
    assert strength.value == pytest.approx(np.log(80.5 / 16.5))
    assert strength.interval[0] > 0
    assert report.data["listeners"] == 12


def test_a_tie_has_no_strength_and_marks_are_compared_in_pairs(folders):
    survey = folders / "s"
    main(["eval", "survey", *(str(folders / n) for n in "abc"), "--out", str(survey), "--form", "marks"])
    for number in range(5):
        answer(survey, f"{number}", lambda shown: {"marks": [50 + 10 * report for report in shown]})
    values = {metric.name: metric.value for metric in survey_report(survey).metrics}
    assert values["survey/mark/model c"] == 70
    assert values["survey/mark_difference/model b"] == 10
    other = folders / "t"
    main(["eval", "survey", *(str(folders / n) for n in "ab"), "--out", str(other)])
    answer(other, "one", lambda shown: {"choice": 0})
    found = {metric.name: metric.value for metric in survey_report(other).metrics}
    assert found["survey/strength/model b"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"survey": "other"}, "answers the survey other"),
        ({"answers": [{"trial": "999", "choice": 1}]}, "invalid answer: KeyError"),
        ({"answers": [{"trial": "001", "choice": 3}]}, "a choice is 0, 1 or 2"),
        ({"answers": 3}, "invalid answer: TypeError"),
    ],
)
def test_answers_that_do_not_fit_are_refused(folders, change, message):
    survey = folders / "s"
    main(["eval", "survey", *(str(folders / n) for n in "ab"), "--out", str(survey)])
    path = answer(survey, "one", prefer(0))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message):
        survey_report(survey)


def test_strengths_are_those_that_made_the_choices():
    truth = np.array([-0.8, 0.1, 0.7])
    rng = np.random.Generator(np.random.Philox(key=0))
    first, second = rng.integers(0, 3, (2, 30_000))
    first, second = first[first != second], second[first != second]
    scores = (rng.random(len(first)) < 1 / (1 + np.exp(truth[second] - truth[first]))).astype(float)
    assert strengths(win_matrix(first, second, scores, 3)) == pytest.approx(truth, abs=0.05)
    # two reports: the log of the odds
    assert np.diff(strengths(np.array([[0, 10.0], [30, 0]]), prior=0)) == pytest.approx(np.log(3))


def test_a_report_is_no_survey(folders, capsys):
    assert main(["eval", "survey", str(folders / "a")]) == 1
    found = capsys.readouterr().err
    assert "is no survey: it has no survey.json" in found
    assert "BASE OTHER --out FOLDER" in found
    assert "Errno" not in found
