"""`models verify` finds single flipped bits in weights, and names the tensor."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.npz import read_npz
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.hashes import HASHES_FILE, recorded_faults, write_hashes
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.cli.main import main
from soundloom.config.catalogue import packaged_folder
from soundloom.testing.stable_audio import make_random


def flip(path: Path, bit: int) -> None:
    with path.open("rb+") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".npz"))


def names_of(path: Path) -> set[str]:
    return set(read_safetensors(path) if path.suffix == ".safetensors" else read_npz(path))


def first_tensor_byte(path: Path) -> int:
    """Return the offset after the headers, whose damage is not attributed to a tensor."""
    if path.suffix == ".npz":
        return 0
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


@pytest.fixture(scope="module", params=["published", "int4", "npz", "mini"])
def model(request, tmp_path_factory):
    if request.param == "mini":
        return shutil.copytree(packaged_folder("mini"), tmp_path_factory.mktemp("model") / "mini")
    return make_random("small-music", tmp_path_factory.mktemp("model"), request.param, "tiny")


@pytest.mark.parametrize("flips", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found_and_its_tensor_named(model, flips):
    random = np.random.default_rng(18)
    files = weights(model)
    names = {path: names_of(path) for path in files}
    sizes = np.array([path.stat().st_size for path in files])
    for _ in range(flips):
        path = files[random.choice(len(files), p=sizes / sizes.sum())]
        bit = int(random.integers(8 * first_tensor_byte(path), 8 * path.stat().st_size))
        flip(path, bit)
        (fault,) = recorded_faults(model)
        assert str(path) in fault
        if path.suffix == ".safetensors":
            assert fault.split(" of ")[0] in names[path]
        flip(path, bit)
    assert not list(recorded_faults(model))


def test_the_command_names_the_tensor_and_fails(tmp_path, capsys):
    folder = make_random("small-music", tmp_path, size="tiny")
    path = folder / "model.safetensors"
    flip(path, 8 * path.stat().st_size - 1)
    assert main(["models", "verify", str(folder)]) == 1
    assert "model.safetensors is damaged: its sha256 differs from the recorded one" in capsys.readouterr().out


def test_the_packaged_model_matches_its_hashes():
    folder = packaged_folder("mini")
    assert not list(recorded_faults(folder)), f"after a change on purpose: hashes.write_hashes(Path({str(folder)!r}))"
    assert set(json.loads((folder / HASHES_FILE).read_text())["files"]["model.safetensors"]["tensors"]) == names_of(
        folder / "model.safetensors"
    )


def test_missing_and_changed_files_are_found(tmp_path):
    folder = make_random("small-music", tmp_path, size="tiny")
    (folder / "t5gemma-b-b-ul2" / "tokenizer.model").unlink()
    with (folder / "model_config.json").open("a") as file:
        file.write("\n")
    faults = " ".join(recorded_faults(folder))
    assert "tokenizer.model is missing" in faults
    assert "model_config.json is damaged or was replaced" in faults


def test_hashes_with_outside_paths_open_nothing(tmp_path):
    folder = make_random("same-s", tmp_path / "model", size="tiny")
    table = json.loads((folder / HASHES_FILE).read_text())
    table["files"]["../outside"] = {"sha256": "0"}
    (folder / HASHES_FILE).write_text(json.dumps(table))
    assert any("has a damaged record of ../outside" in fault for fault in verify(open_checkpoint(folder)).faults)


def test_the_hashes_of_the_same_files_are_the_same(tmp_path):
    folder = make_random("same-s", tmp_path, size="tiny")
    before = (folder / HASHES_FILE).read_bytes()
    write_hashes(folder)
    assert (folder / HASHES_FILE).read_bytes() == before
