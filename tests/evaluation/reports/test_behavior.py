"""How verdicts and intervals behave over many draws: false alarms, and how often intervals hold the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.cli.main import main
from soundloom.evaluation.distances.frechet import Factor, frechet_from_moments
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.compare import Source, compare, label_interval, mean_intervals
from soundloom.evaluation.reports.record import ClipRecord, Report
from soundloom.evaluation.reports.set_differences import Rows, frechet_difference
from soundloom.evaluation.statistics.intervals import centered, wilson
from tests.evaluation.reports.made import made_report
from tests.evaluation.reports.test_compare import set_report, stored, verdicts

RUNS, DRAWS = 200, 500
ALARMS = ("better", "worse", "different")


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


@pytest.fixture
def few_resamples(monkeypatch):
    """Resample less often than commands do, as many comparisons are made."""
    monkeypatch.setattr("soundloom.evaluation.reports.compare.RESAMPLES", 1000)
    monkeypatch.setattr("soundloom.evaluation.reports.set_differences.RESAMPLES", 400)
    monkeypatch.setattr("soundloom.evaluation.statistics.tests.FLIPS", 1000)


def scored_report(scores: np.ndarray) -> Report:
    """Return a report of scores (figures, clips)."""
    names = [f"score/{index}" for index in range(len(scores))]
    clips = tuple(
        ClipRecord(f"p{i}", figures=dict(zip(names, map(float, values), strict=True)))
        for i, values in enumerate(scores.T)
    )
    metrics = tuple(
        Metric(name, float(row.mean()), len(row), direction="higher") for name, row in zip(names, scores, strict=True)
    )
    return replace(made_report(1), clips=clips, metrics=metrics)


@pytest.mark.slow
def test_two_runs_of_one_model_are_seldom_called_different(few_resamples):
    """The family of two figures raises a false alarm in at most 7 % of runs; skewed figures too."""
    alarms, undecided = 0, 0
    for run in range(RUNS):
        draw = rng(run)
        prompts = draw.standard_normal(60)
        sides = [
            np.stack([prompts + 0.5 * draw.standard_normal(60), np.exp(prompts + 0.5 * draw.standard_normal(60))])
            for _ in range(2)
        ]
        base, other = (Source(scored_report(scores), Path(), {}) for scores in sides)
        found = verdicts(compare(base, [other], {"score/0": 1e-6, "score/1": 1e-6}))
        alarms += any(found[name] in ALARMS for name in ("score/0", "score/1"))
        undecided += found["score/0"] == "undecided"
    assert alarms <= 0.07 * RUNS
    assert undecided > 0.9 * RUNS


@pytest.mark.slow
def test_two_sets_of_one_model_are_seldom_called_different(few_resamples):
    reference = rng(10**6).standard_normal((400, 5))
    report, one, alarms = set_report(60), stored(np.zeros((60, 5)), reference), 0
    for run in range(RUNS):
        rows = [rng(run + RUNS * side).standard_normal((60, 5)) + 0.2 for side in (0, 1)]
        sources = [Source(report, Path(), {"log-mel": replace(one, vectors=side)}) for side in rows]
        found = verdicts(compare(sources[0], sources[1:], {"kad/log-mel/soundloom": 1e-9}))
        alarms += found["fad/log-mel/soundloom"] in ALARMS
    assert alarms <= 0.07 * RUNS


@pytest.mark.slow
@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_of_means_and_paired_differences_hold_the_truth(skewed, few_resamples):
    """The difference of paired clips is a mean, too: its noise is what pairing leaves."""
    held = {"mean": 0, "difference": 0}
    for run in range(DRAWS):
        draw = rng(run)
        prompts = draw.gamma(2.0, 0.5, 100) if skewed else 1 + draw.standard_normal(100)  # mean 1
        noise = [0.3 * draw.standard_normal(100) for _ in range(2)]
        low, high = mean_intervals(prompts + noise[0], seed=run)[0]
        held["mean"] += low <= 1 <= high
        low, high = mean_intervals(noise[1] + 0.1 - noise[0], seed=run)[0]
        held["difference"] += low <= 0.1 <= high
    assert all(0.92 <= count / DRAWS <= 0.97 for count in held.values()), held


@pytest.mark.slow
def test_intervals_of_shares_hold_the_truth():
    hits = rng(0).binomial(80, 0.3, DRAWS)
    edges = np.array([wilson(count / 80, 80) for count in hits])
    assert 0.92 <= ((edges[:, 0] <= 0.3) & (edges[:, 1] >= 0.3)).mean() <= 0.97


@pytest.mark.slow
def test_intervals_of_differences_of_labels_hold_the_truth():
    """Of 80 prompts, 20 % are right in the second report alone, 10 % in the first alone."""
    counts = rng(0).multinomial(80, (0.2, 0.1, 0.7), DRAWS)
    edges = np.array([label_interval(np.repeat([1.0, -1.0, 0.0], row)) for row in counts])
    assert 0.92 <= ((edges[:, 0] <= 0.1) & (edges[:, 1] >= 0.1)).mean() <= 0.97


@pytest.mark.slow
def test_intervals_of_differences_of_distances_hold_the_truth(few_resamples):
    """The biases of both distances cancel at equal numbers of clips, and prompts are common to both sides."""
    width, clips = 4, 200
    covariances = [np.diag(np.linspace(1, 0.4, width)), np.diag(np.linspace(0.8, 0.7, width))]
    means = [np.full(width, 0.1), np.full(width, 0.3)]
    zero, one = np.zeros(width), np.eye(width)
    truth = [frechet_from_moments(zero, one, mean, cov) for mean, cov in zip(means, covariances, strict=True)]
    reference = Factor.of_moments(Moments(10**6, zero, one * (10**6 - 1)))
    groups, held = np.arange(clips), 0
    for run in range(DRAWS):
        draw = rng(run)
        common = draw.standard_normal((clips, width))
        base, other = (
            mean + (0.8 * common + 0.6 * draw.standard_normal((clips, width))) @ np.sqrt(covariance)
            for mean, covariance in zip(means, covariances, strict=True)
        )
        found = frechet_difference(reference, Rows(base, groups), Rows(other, groups), clips, seed=run)
        low, high = centered(found.other - found.base, found.resampled)
        held += low <= truth[1] - truth[0] <= high
    assert 0.92 <= held / DRAWS <= 0.97, held / DRAWS


# Sounds


def write_tones(folder: Path, count: int, noise: float, seed: int) -> Path:
    """Write clips of one second: tones of several pitches, with white noise at a level in dB below them."""
    time, draw = np.arange(16000) / 16000, rng(seed)
    folder.mkdir()
    for index in range(count):
        pitch = 110 * 2 ** (index * 7 % 36 / 12) * (1 + 0.01 * draw.standard_normal())
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3)) * 0.2
        level = np.sqrt((tone**2).mean()) * 10 ** (-noise / 20)
        audio = (tone + level * draw.standard_normal(len(time))).astype(np.float32)[None]
        soundfile.write(folder / f"{index:04d}.wav", audio.T, 16000, subtype="FLOAT")
    return folder


@pytest.mark.slow
def test_a_set_is_the_same_as_itself_and_worse_with_noise_at_20_db(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    reference = write_tones(tmp_path / "reference", 100, 60, 1)
    clean, noisy = write_tones(tmp_path / "clean", 200, 60, 2), write_tones(tmp_path / "noisy", 200, 20, 2)
    options = ["--reference", str(reference), "--embedder", "log-mel", "-q", "--allow-small"]
    for name, folder in (("a", clean), ("again", clean), ("b", noisy)):
        assert main(["eval", "set", str(folder), *options, "--out", str(tmp_path / name)]) == 0
    capsys.readouterr()
    found = [verdicts(compare(Source.read(tmp_path / "a"), [Source.read(tmp_path / name)])) for name in ("again", "b")]
    figures = ("fad/log-mel/soundloom", "kad/log-mel/soundloom", "failures")
    assert [found[0][name] for name in figures] == ["same", "same", "same"]
    assert [found[1][name] for name in figures] == ["worse", "worse", "same"]
