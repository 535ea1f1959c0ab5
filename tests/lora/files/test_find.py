"""Adapters by path, by name in a folder, and by hash."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from soundloom.errors import ModelNotFoundError, RequestError
from soundloom.folders import loras_folder
from soundloom.lora.files.find import find_adapter, index_adapter, list_adapters, locate_adapter, read
from soundloom.lora.files.read import read_adapter
from tests.lora.files.make import GOLDEN, config_of, flat, make_tensors, save


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Return a folder of adapters that is the default one."""
    for variable in ("CONFIG", "CACHE", "LORAS"):
        monkeypatch.setenv(f"SOUNDLOOM_{variable}", str(tmp_path / variable))
    folder = tmp_path / "LORAS"
    folder.mkdir()
    return folder


def make(path, seed=0):
    path.parent.mkdir(exist_ok=True)
    return save(path, flat(make_tensors("lora", seed=seed)), config_of("lora"))


def test_the_folder_lists_its_adapters_by_name(folder):
    first = make(folder / "warm tape.safetensors")
    deeper = [make(folder / "run" / f"run-step={step}-epoch=0.safetensors") for step in (100, 200)]
    shutil.copytree(GOLDEN / "part_peft", folder / "choir")
    for path in ("drums.safetensors", "drums.ckpt"):
        shutil.copy(GOLDEN / "part.ckpt", folder / path)
    save(folder / "model.safetensors", {"model.model.preprocess_conv.weight": np.ones((2, 2))})
    (folder / "notes.txt").write_text("nothing")
    (folder / "broken.safetensors").write_bytes(b"half")
    assert list_adapters() == {
        "broken": folder / "broken.safetensors",
        "choir": folder / "choir",
        "drums.ckpt": folder / "drums.ckpt",
        "drums.safetensors": folder / "drums.safetensors",
        "warm tape": first,
        "run/run-step=100-epoch=0": deeper[0],
        "run/run-step=200-epoch=0": deeper[1],
    }
    for name, path in list_adapters(folder).items():
        assert find_adapter(name) == path
    assert list_adapters(folder / "absent") == {}


def test_paths_come_before_names(folder, tmp_path, monkeypatch):
    named, here = make(folder / "style.safetensors"), make(tmp_path / "here" / "style.safetensors", seed=1)
    monkeypatch.chdir(tmp_path / "here")
    assert find_adapter("style.safetensors").resolve() == here
    assert find_adapter("style") == named == find_adapter("STYLE")
    assert find_adapter(here) == here == find_adapter("style", folder=tmp_path / "here")
    assert read("style").sha256 == read_adapter(named).sha256
    assert read(here, exclude=["seconds"]).exclude == ("seconds",)


def test_names_without_suffix_are_suggested_with_it(tmp_path, monkeypatch):
    make(tmp_path / "here" / "style.safetensors")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ModelNotFoundError, match="there is no adapter style") as caught:
        find_adapter("style")
    assert caught.value.hint == "did you mean style.safetensors?"


def test_names_of_sa3_cpp_are_found(folder):
    shutil.copy(GOLDEN / "part.safetensors", folder / "lora-kev-f32.safetensors")
    assert find_adapter("kev").name == "lora-kev-f32.safetensors"
    shutil.copy(GOLDEN / "part.safetensors", folder / "lora-kev-f16.safetensors")
    with pytest.raises(RequestError, match="several adapters of the name kev"):
        find_adapter("kev")


def test_missing_adapters_suggest_names(folder, tmp_path):
    with pytest.raises(ModelNotFoundError, match="no adapter style") as caught:
        find_adapter("style")
    assert "OWNER/REPO" in caught.value.hint
    make(folder / "warm_tape.safetensors")
    with pytest.raises(ModelNotFoundError) as caught:
        find_adapter("warmtape")
    assert caught.value.hint == "did you mean warm_tape?"
    with pytest.raises(ModelNotFoundError) as caught:
        find_adapter("zzz")
    assert caught.value.hint.endswith("has warm_tape")
    near = make(tmp_path / "out" / "choir.safetensors")
    with pytest.raises(ModelNotFoundError) as caught:
        find_adapter(str(tmp_path / "out" / "chior.safetensors"))
    assert str(near) in caught.value.hint


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "x" * 5000, "missing.safetensors", "dir/missing.safetensors"])
def test_impossible_names_are_rejected(name):
    with pytest.raises((ModelNotFoundError, RequestError)) as caught:
        find_adapter(name)
    assert len(str(caught.value)) < 400


def test_an_adapter_is_located_by_its_hash_wherever_it_was(folder, tmp_path):
    path = make(tmp_path / "elsewhere" / "style.safetensors")
    adapter = read_adapter(path)
    with pytest.raises(ModelNotFoundError, match="not on this machine"):
        locate_adapter("style", adapter.sha256)
    index_adapter(adapter)
    assert locate_adapter("style", adapter.sha256) == path
    moved = path.rename(folder / "other name.safetensors")
    assert locate_adapter("style", adapter.sha256) == moved


def test_an_adapter_that_changed_is_not_taken_for_the_old_one(folder):
    path = make(folder / "style.safetensors")
    adapter = read_adapter(path)
    index_adapter(adapter)
    make(path, seed=1)
    with pytest.raises(ModelNotFoundError, match=r"style\.safetensors is another one, or has changed"):
        locate_adapter("style", adapter.sha256)
    make(folder / "copy.safetensors")
    assert locate_adapter("style", adapter.sha256) == folder / "copy.safetensors"


def test_the_index_survives_damage_and_missing_folders(folder, tmp_path, monkeypatch):
    adapter = read_adapter(make(folder / "style.safetensors"))
    index_adapter(adapter)
    index = tmp_path / "CACHE" / "adapters.json"
    assert json.loads(index.read_text()) == {adapter.sha256: {"name": "style", "path": str(adapter.path)}}
    for content in ("{", "[]", json.dumps({adapter.sha256: 3}), json.dumps({adapter.sha256: {"path": "a\0b"}})):
        index.write_text(content)
        assert locate_adapter("style", adapter.sha256) == adapter.path
        index_adapter(adapter)
        assert adapter.sha256 in json.loads(index.read_text())
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(blocked))
    index_adapter(adapter)


def test_the_index_keeps_the_newest(folder, monkeypatch):
    monkeypatch.setattr("soundloom.lora.files.index._MAX_ENTRIES", 2)
    paths = [make(folder / f"{seed}.safetensors", seed) for seed in range(3)]
    for path in paths:
        index_adapter(read_adapter(path))
    table = json.loads((folder.parent / "CACHE" / "adapters.json").read_text())
    assert [entry["name"] for entry in table.values()] == ["1", "2"]


def test_the_folder_is_in_the_data_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("SOUNDLOOM_LORAS")
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path))
    assert loras_folder() == tmp_path / "loras"
