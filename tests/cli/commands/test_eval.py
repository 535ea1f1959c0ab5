import json
import logging
import shutil

import pytest


@pytest.fixture
def short(monkeypatch):
    """Measure shorter clips than the command does, and the wall time of one process instead of three."""
    from soundloom.evaluation import clips
    from soundloom.evaluation.synthetic import lengths

    monkeypatch.setattr(lengths, "MAX_SECONDS", 5.0)
    monkeypatch.setattr(lengths, "EXTENDED_SECONDS", 5.0)
    monkeypatch.setattr(lengths, "FILE_SECONDS", 12.0)
    monkeypatch.setattr(clips, "RUNS", 1)


@pytest.mark.slow
def test_all_metrics_are_reported(soundloom, tiny_model_folder, short):
    """Random weights miss the goals; this tests that every metric is reported."""
    done = soundloom(
        *("eval", tiny_model_folder, "--prompts", 4, "--seeds", 1, "--steps", 1, "--seconds", 1),
        *("--families", "tone,single drum loop,noise", "--save", "metrics.json"),
    )
    assert done.code == 0, done.err
    for metric in ("pitch within 50 cents", "kind of sound", "one seed repeats", "log-mel difference", "wall time"):
        assert metric in done.out
    with open("metrics.json") as file:  # noqa: PTH123
        found = json.load(file)
    metrics = {row["name"]: row for row in found["metrics"]}
    assert metrics["one seed repeats"]["value"] == 1
    assert logging.getLogger("soundloom").level == logging.NOTSET  # later commands of the process show warnings
    assert metrics["autoencoder: log-mel difference"]["passed"] is False
    assert [clip["family"] for clip in found["clips"]] == ["tone", "single drum loop", "noise", "tone"]


def test_sounds_come_from_the_folder_of_the_model(tiny_model_folder, tmp_path):
    from soundloom.evaluation.synthetic.evaluate import EvaluationConfig
    from soundloom.pipeline.load import load

    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    assert EvaluationConfig().for_model(load(folder)) == EvaluationConfig()
    (folder / "sounds.toml").write_text('clips = 5\nfamilies = ["bell", "wind"]\nplain = true\nlatent_period = 4096\n')
    prompts = EvaluationConfig().for_model(load(folder)).sample_prompts(20)
    assert {prompt.labels.family for prompt in prompts} == {"bell", "wind"}
    assert {(prompt.labels.brightness, prompt.latent_period) for prompt in prompts} == {(0.5, 4096)}
    assert any(prompt.labels.reverb for prompt in prompts)
    assert not any(prompt.labels.reverb for prompt in EvaluationConfig().sample_prompts(20))


def test_mini_lists_its_training_sounds():
    from soundloom.evaluation.synthetic.evaluate import EvaluationConfig
    from soundloom.pipeline.load import load

    assert EvaluationConfig().for_model(load("mini")).families != EvaluationConfig().families


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--families", "tone,fish"), "unknown families of sounds: fish"),
        (("--prompts", 0), "must be 1 or more"),
        (("--seconds", 100), "--seconds must be between"),
        (("--sounds", "absent.toml"), "cannot read absent.toml"),
        (("--work", "absent"), "absent/autoencoder/state.pt is missing"),
    ],
)
def test_invalid_requests_are_rejected(soundloom, arguments, sentence):
    done = soundloom("eval", "mini", *arguments)
    assert done.code in (1, 2)
    assert sentence in done.err
