import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from soundloom.config.catalogue import CATALOGUE

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture
def cache(tmp_path, monkeypatch, tiny_model_folder):
    """Return a download cache that contains small-music at the pinned commit."""
    from huggingface_hub import constants

    folder = tmp_path / ".settings" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    entry = CATALOGUE["small-music"]
    shutil.copytree(
        tiny_model_folder,
        folder / f"models--{entry.repo.replace('/', '--')}" / "snapshots" / entry.revision,
    )


def test_the_list_marks_installed_models(soundloom, cache):
    listed = {model["name"]: model for model in json.loads(soundloom("models", "--json").out)["models"]}
    assert list(listed) == list(CATALOGUE)
    assert listed["small-music"]["installed"] == ["published"]
    assert listed["medium"]["installed"] == []
    assert listed["medium"]["bytes"] == 9_222_116_660 + 1_183_022_944
    table = soundloom("models").out
    assert all(name in table for name in CATALOGUE)
    assert re.search(r"^small-music +up to 120 s +3.5 GB +yes +below \$1M a year$", table, re.MULTILINE)
    assert max(map(len, table.splitlines())) <= 80


def test_the_readme_table_agrees_with_the_list(soundloom):
    listed = {line.split("  ")[0]: re.split(r" {2,}", line) for line in soundloom("models").out.splitlines()[1:]}
    text = README.read_text(encoding="utf-8").partition("| name | makes | download |")[2].partition("\n\n")[0]
    for row in text.splitlines()[2:]:
        names, makes, download, commercial = (cell.strip() for cell in row.strip("|").split("|"))
        for name in re.findall(r"`(\w[^`\[]+)", names):
            assert listed[name][1] in makes, name
            assert listed[name][2].removesuffix(" GB") in download, name
            assert listed[name][4] == commercial, name


def test_license_terms_of_outputs_have_a_source(soundloom):
    shown = {name: soundloom("models", "show", name).out for name in ("mini", "medium", "musicgen-large")}
    assert "commercial_use: yes" in shown["mini"]
    assert "so they may be used commercially. (https://www.apache.org/licenses/LICENSE-2.0)" in shown["mini"]
    assert "commercial_use: below $1M a year" in shown["medium"]
    assert "(https://stability.ai/community-license-agreement)" in shown["medium"]
    assert "commercial_use: no" in shown["musicgen-large"]
    assert "(https://creativecommons.org/licenses/by-nc/4.0)" in shown["musicgen-large"]


def test_a_named_model_generates_from_the_cache(soundloom, cache):
    made = soundloom("generate", "rain", "--model", "sm-music", "--seconds", 0.1, "--steps", 1, "--json")
    (clip,) = json.loads(made.out)["clips"]
    assert clip["model"] == "small-music"
    assert clip["license"] == CATALOGUE["small-music"].license


def test_pull_prints_the_files(soundloom, cache):
    done = soundloom("models", "pull", "small-music")
    assert [path.name for path in done.paths] == ["model.safetensors", "model.safetensors"]


def test_show_leaves_out_what_is_empty(soundloom):
    for name in ("mini", "medium", "musicgen-large", "same-s"):
        lines = soundloom("models", "show", name).out.splitlines()
        empty = [a for a, b in zip(lines, [*lines[1:], "end"], strict=True) if a[-1] == ":" and not b.startswith(" ")]
        assert not empty
        assert not any(line.endswith((" None", " []", ": ")) for line in lines)
    assert json.loads(soundloom("models", "show", "mini", "--json").out)["files"] == []


def test_pull_without_consent_shows_the_terms(soundloom, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    done = soundloom("models", "pull", "small-sfx")
    assert (done.code, done.out) == (1, "")
    assert "Stability AI Community License" in done.err
    assert "accept it with --accept-license" in done.err


def test_show_describes_names_and_folders(soundloom, tiny_model_folder, tiny_model):
    named = soundloom("models", "show", "sm-sfx-base").out
    assert "50 steps of euler, guidance 7" in named
    assert "stabilityai/stable-audio-3-small-sfx-base/model.safetensors (2.27 GB)" in named
    folder = json.loads(soundloom("models", "show", tiny_model_folder, "--json").out)
    assert folder["hash"] == tiny_model.checkpoint.fingerprint


def test_verify_rejects_non_finite_weights(soundloom, tiny_model_folder, tmp_path):
    good = soundloom("models", "verify", tiny_model_folder)
    assert good.code == 0
    assert "all names, shapes, and values are correct" in good.out
    copy = shutil.copytree(tiny_model_folder, tmp_path / "damaged", ignore=shutil.ignore_patterns("sha256.json"))
    tensors = load_file(copy / "model.safetensors")
    name = "model.model.preprocess_conv.weight"
    tensors[name][0, 0] = np.nan
    save_file(tensors, copy / "model.safetensors")
    bad = soundloom("models", "verify", copy, "--json")
    assert bad.code == 1
    assert json.loads(bad.out)["faults"] == [f"{name}: 1 of 65536 values are not finite"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("polish",), "there is no action 'polish'"),
        (("pull",), "models pull needs a name"),
        (("pull", "mediun"), "did you mean medium"),
        (("verify", "medium"), "is not in the cache"),
    ],
)
def test_invalid_requests(soundloom, arguments, sentence):
    done = soundloom("models", *arguments)
    assert done.code in (1, 2)
    assert sentence in done.err
