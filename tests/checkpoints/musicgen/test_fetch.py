"""MusicGen by name from a local fake hub; pickles are converted to safetensors once."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.musicgen.open import open_musicgen
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import RemoteFile
from soundloom.config.musicgen.model import published_musicgen
from soundloom.errors import CorruptFileError, DownloadError, ModelNotFoundError
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from tests.checkpoints.hub_server import point_client_at, serve

pytest.importorskip("torch", reason="PyTorch, which writes the pickled layouts, is not installed")

EDITOR = tiny_musicgen(published_musicgen("large", instruct=True))


def without_sizes(source):
    files = tuple(RemoteFile(file.path) for file in source.files)
    return replace(source, files=files, auxiliary=tuple(map(without_sizes, source.auxiliary)))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve a tiny editor under the names of the published one; return its folder."""
    folder = make_musicgen(EDITOR, tmp_path / "made", "instruct")
    entry = CATALOGUE["instruct-musicgen"]
    monkeypatch.setitem(CATALOGUE, entry.name, replace(entry, sources=tuple(map(without_sizes, entry.sources))))
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "converted"))
    monkeypatch.delenv("SOUNDLOOM_ACCEPT_LICENSE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serve() as server:
        point_client_at(server.url, monkeypatch)
        codec = "compression_state_dict.bin"
        server.repos = {
            "ldzhangyx/instruct-MusicGen": {"finetuned.ckpt": (folder / "finetuned.ckpt").read_bytes()},
            "facebook/musicgen-large": {codec: (folder / codec).read_bytes()},
            "google-t5/t5-base": {path.name: path.read_bytes() for path in (folder / "t5-base").iterdir()},
        }
        yield folder


def test_the_training_checkpoint_is_downloaded_and_converted_to_safetensors(published, tmp_path):
    found = open_music("instruct-musicgen", accept_license=True)
    wanted = open_musicgen(published)
    assert (found.name, found.layout, found.config) == ("instruct-musicgen", "musicgen", EDITOR)
    assert "NonCommercial" in found.license
    assert all(np.array_equal(tensor.numpy(), wanted.tensors[name].numpy()) for name, tensor in found.tensors.items())
    assert [path.suffix for path in found.files] == [".safetensors"]
    assert found.path.is_relative_to(tmp_path / "converted")
    before = found.files[0].stat().st_mtime_ns
    assert open_music("instruct-musicgen", offline=True).files[0].stat().st_mtime_ns == before


def test_nothing_is_downloaded_before_the_license_is_accepted(published):
    with pytest.raises(DownloadError, match=r"not accepted(.|\n)*NonCommercial"):
        open_music("instruct-musicgen")


def test_folders_and_names_are_distinguished(published, tiny_model_folder):
    assert is_music("musicgen-small") and is_music(published) and is_music(str(published / "finetuned.ckpt"))
    assert not is_music("mini") and not is_music(tiny_model_folder) and not is_music("no-such-model")
    with pytest.raises(ModelNotFoundError, match="not a MusicGen model"):
        open_music(tiny_model_folder)
    with pytest.raises(ModelNotFoundError, match="not a MusicGen model"):
        open_music("mini")


def test_other_pickles_are_still_never_opened(tmp_path):
    from soundloom.checkpoints.stable_audio.open import open_checkpoint

    (tmp_path / "model.pt").write_bytes(b"anything")
    with pytest.raises(CorruptFileError, match="never opened"):
        open_checkpoint(tmp_path)
