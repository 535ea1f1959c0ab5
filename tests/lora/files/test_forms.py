"""Adapters that were recorded in several forms, folders, and files of other things."""

from __future__ import annotations

import os
import shutil
import zipfile

import numpy as np
import pytest

from soundloom.errors import CorruptFileError, MismatchError, ModelNotFoundError, RequestError
from soundloom.lora.files.read import read_adapter
from tests.lora.files.make import GOLDEN, QKV, assert_equal, config_of, flat, make_tensors, save
from tests.lora.files.torch_files import TorchFile


@pytest.mark.parametrize("form", ["part.ckpt", "part_peft", "part_peft/adapter_model.safetensors"])
def test_recorded_forms_hold_the_same_adapter(form):
    found = read_adapter(GOLDEN / form)
    assert_equal(found, read_adapter(GOLDEN / "part.safetensors"))
    assert found.form == ("ckpt" if form.endswith("ckpt") else "peft") and found.notices == ()


def test_the_recorded_rank_stabilized_adapter_is_scaled_by_the_root_of_the_rank():
    found = read_adapter(GOLDEN / "part_peft_rslora")
    assert_equal(found, read_adapter(GOLDEN / "part_lora.safetensors"))
    assert found.alpha == pytest.approx(4 * 3**0.5) and found.name == "part_peft_rslora"


def test_merged_models_and_bases_are_told_apart(tmp_path):
    model = save(tmp_path / "model.safetensors", {"model.model.transformer.project_in.weight": np.ones((2, 2))})
    with pytest.raises(MismatchError, match="weights of a model, not an adapter") as caught:
        read_adapter(model)
    assert "soundloom lora extract" in caught.value.hint
    file = TorchFile()
    bases = {
        "model.model.preprocess_conv.weight": {kind: file.tensor(np.ones((2, 2), np.float32)) for kind in ("U", "V")}
    }
    with pytest.raises(MismatchError, match="singular vectors"):
        read_adapter(file.save(tmp_path / "bases.pt", bases))


@pytest.mark.parametrize(
    "content", [b"", b"GGU", b"version https://git-lfs.github.com/spec/v1\n", b"<!doctype html>", b"\x80\x02}."]
)
def test_files_of_no_known_form_are_rejected(tmp_path, content):
    for suffix in (".safetensors", ".ckpt", ".gguf"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises((CorruptFileError, MismatchError)):
            read_adapter(path)


def test_a_folder_with_one_adapter_is_that_adapter(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ModelNotFoundError, match="no adapter in"):
        read_adapter(folder)
    save(folder / "model.safetensors", {"model.model.transformer.project_in.weight": np.ones((2, 2))})
    save(folder / "style.safetensors", flat(make_tensors("lora")), config_of("lora"))
    (folder / "style.trigger.txt").write_text("zxq")
    found = read_adapter(folder)
    assert (found.name, found.hints) == ("style", {"trigger": "zxq"})
    save(folder / "other.safetensors", flat(make_tensors("lora")), config_of("lora"))
    with pytest.raises(RequestError, match=r"2 adapters: other\.safetensors, style\.safetensors"):
        read_adapter(folder)


def test_the_folder_of_a_training_run_stands_for_its_last_adapter(tmp_path):
    for step in (90, 100):
        for name in ("style", "style-ema"):
            save(tmp_path / f"{name}-step={step}-epoch=1.safetensors", flat(make_tensors("lora")), config_of("lora"))
    (tmp_path / "state.pt").write_bytes(b"PK")
    with pytest.raises(RequestError, match=r"5 adapters: state\.pt, style-ema"):
        read_adapter(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert read_adapter(tmp_path).name == "style-step=100-epoch=1"
    shutil.copy(tmp_path / "style-step=90-epoch=1.safetensors", tmp_path / "other.safetensors")
    with pytest.raises(RequestError, match=r"5 adapters: other"):
        read_adapter(tmp_path)


def test_a_folder_with_a_model_is_called_one(tmp_path):
    save(tmp_path / "model.safetensors", {"model.model.transformer.project_in.weight": np.ones((2, 2))})
    (tmp_path / "model_config.json").write_text("{}")
    with pytest.raises(MismatchError, match="holds a model, not an adapter") as caught:
        read_adapter(tmp_path)
    assert "soundloom lora extract" in caught.value.hint


def test_archives_are_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "style.zip", "w") as archive:
        archive.write(GOLDEN / "part.safetensors", "style/part.safetensors")
    with pytest.raises(MismatchError, match=r"archive that holds style/part\.safetensors") as caught:
        read_adapter(tmp_path / "style.zip")
    assert "unpack" in caught.value.hint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_special_files_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelNotFoundError, match="no adapter"):
        read_adapter(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelNotFoundError, match="no adapter in"):
        read_adapter(tmp_path)


def test_layers_of_zeros_are_noticed(tmp_path):
    layers = make_tensors("dora-rows")
    layers[QKV]["magnitude"][:] = 0
    layers[QKV]["lora_B"][:] = 0
    found = read_adapter(save(tmp_path / "a.safetensors", flat(layers), config_of("dora-rows")))
    assert found.notices == (f"1 layers hold only zeros ({QKV}): the file may be half-written",)
