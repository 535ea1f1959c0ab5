"""The losses of a finished training on held-out sounds."""

from dataclasses import replace

import pytest
import torch

from soundloom.cli.main import main
from soundloom.config.parse import to_dict
from soundloom.datasets.synthetic import family_prompts
from soundloom.errors import TrainingError
from soundloom.training.loop.checkpoint import save_state
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.evaluate import auxiliary_metrics
from tests.training.stages.test_autoencoder import EVERYTHING
from tests.training.tiny_recipe import CONFIGS, SHORT_LOOP, write_recipe

FIVE = {"spectral", "adversarial", "feature_matching", "alignment", "semantic", "contrastive"}
PROMPTS = family_prompts(("tone", "bell"), 4, seconds=1.0)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """The run directory of an autoencoder that was trained with every loss for six steps."""
    folder = tmp_path_factory.mktemp("trained")
    loop = replace(EVERYTHING.loop, **{**SHORT_LOOP, "steps": 6})
    write_recipe(folder / "recipe", {**CONFIGS, "autoencoder": to_dict(replace(EVERYTHING, loop=loop))})
    for stage in ("tokenizer", "autoencoder"):
        command = ["train", stage, folder / "recipe", "--work", folder / "work", "--device", "cpu", "--quiet"]
        assert main([*map(str, command)]) == 0
    return RunDirectory(folder / "work")


def test_every_loss_is_measured(run_dir):
    rows = {row.name.removeprefix("autoencoder's training: "): row for row in auxiliary_metrics(run_dir, PROMPTS, 1.0)}
    assert rows.keys() >= FIVE | {"loss", "softnorm", "mel"}
    assert all(torch.isfinite(torch.tensor(row.value)) for row in rows.values())
    assert rows["spectral"].count == 8


def test_losses_are_deterministic_and_depend_on_the_auxiliary_modules(run_dir):
    first, second = ({row.name: row.value for row in auxiliary_metrics(run_dir, PROMPTS, 1.0)} for _ in range(2))
    assert first == second
    path = run_dir.stage_folder("autoencoder") / "state.pt"
    state = torch.load(path, weights_only=True)
    for name, value in state["auxiliary"].items():
        if name.startswith("semantic.heads"):
            value.zero_()
    save_state(path, state)
    changed = {row.name: row.value for row in auxiliary_metrics(run_dir, PROMPTS, 1.0)}
    assert {name for name in first if changed[name] != first[name]} == {
        f"autoencoder's training: {name}"
        for name in ("loss", "semantic", "semantic_low", "semantic_middle", "semantic_high", "semantic_balance")
    }


def test_a_folder_without_training_is_rejected(tmp_path):
    with pytest.raises(TrainingError, match="the stage autoencoder is not finished"):
        auxiliary_metrics(RunDirectory(tmp_path), PROMPTS, 1.0)
