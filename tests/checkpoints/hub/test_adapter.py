"""Adapters from repositories of a local fake hub."""

import socket

import pytest

from soundloom.checkpoints.hub import first_downloads
from soundloom.checkpoints.hub.adapter import fetch_adapter
from soundloom.errors import DownloadError, ModelNotFoundError, RequestError
from soundloom.lora.files.find import find_adapter, locate_adapter, read
from tests.checkpoints.hub_server import COMMIT, point_client_at, serve
from tests.lora.files.make import GOLDEN

REPO = "someone/style"
FILES = {"README.md": b"words", "style.safetensors": (GOLDEN / "part.safetensors").read_bytes()}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    for variable in ("CONFIG", "CACHE", "LORAS"):
        monkeypatch.setenv(f"SOUNDLOOM_{variable}", str(tmp_path / variable))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve() as server:
        point_client_at(server.url, monkeypatch)
        server.repos[REPO] = dict(FILES)
        yield server


def test_the_only_adapter_of_a_repository_is_downloaded(hub):
    adapter = read(REPO)
    assert (adapter.name, adapter.type, adapter.path.parent.name) == ("style", "dora-rows", COMMIT)
    assert first_downloads.trusted_commit(REPO) == COMMIT
    assert first_downloads.trusted_sha256(REPO, COMMIT, "style.safetensors")
    assert not any("README" in request for request in hub.requests)


def test_a_named_file_that_is_cached_needs_no_network(hub):
    first = find_adapter(f"{REPO}/style.safetensors")
    hub.requests.clear()
    assert find_adapter(f"{REPO}/style.safetensors") == first
    assert find_adapter(REPO, offline=True) == first
    assert hub.requests == []


def test_the_cached_adapter_is_used_when_the_hub_cannot_be_reached(hub, monkeypatch):
    first = find_adapter(REPO)

    def unknown(*_, **__):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert find_adapter(REPO) == first


def test_several_adapters_are_listed(hub):
    hub.repos[REPO]["more/b.safetensors"] = FILES["style.safetensors"]
    with pytest.raises(RequestError, match=r"2 adapters: more/b\.safetensors, style\.safetensors") as caught:
        fetch_adapter(REPO)
    assert f"{REPO}/more/b.safetensors" in caught.value.hint
    assert fetch_adapter(REPO, "more").name == "b.safetensors"


def test_safetensors_are_preferred_to_pickles(hub):
    hub.repos[REPO] |= {"style.ckpt": b"x", "optimizer.pt": b"x", "style.gguf": b"x"}
    assert fetch_adapter(REPO).name == "style.safetensors"
    del hub.repos[REPO]["style.safetensors"], hub.repos[REPO]["style.gguf"]
    hub.requests.clear()
    assert fetch_adapter(REPO).name == "style.ckpt"


def test_a_folder_of_peft_is_downloaded_with_its_configuration(hub):
    peft = {path.name: path.read_bytes() for path in (GOLDEN / "part_peft").iterdir()}
    hub.repos[REPO] = {**peft, "optimizer.pt": b"x"}
    adapter = read(REPO)
    assert adapter.form == "peft" and adapter.alpha == 4.0
    assert fetch_adapter(REPO, "adapter_model.safetensors", offline=True) == adapter.path


def test_repositories_without_adapters_say_what_they_have(hub):
    hub.repos[REPO] = {"README.md": b"words"}
    with pytest.raises(ModelNotFoundError, match="no adapter in someone/style") as caught:
        fetch_adapter(REPO)
    assert "README.md" in caught.value.hint
    with pytest.raises(DownloadError, match=r"has no file absent\.safetensors") as caught:
        fetch_adapter(REPO, "absent.safetensors")
    assert "--revision" not in caught.value.hint
    with pytest.raises(DownloadError, match="no repository someone/else"):
        find_adapter("someone/else")


def test_offline_names_what_is_missing(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (REPO, f"{REPO}/style.safetensors"):
        with pytest.raises(DownloadError, match="downloads are disabled") as caught:
            find_adapter(name)
        assert "--model" not in caught.value.hint
    assert hub.requests == []


def test_a_file_that_changed_since_the_first_download_is_rejected(hub, tmp_path):
    path = fetch_adapter(REPO)
    for file in (path.resolve(), path):
        file.unlink()
    hub.repos[REPO]["style.safetensors"] = b"other"
    with pytest.raises(DownloadError, match="its first download had"):
        fetch_adapter(REPO)


def test_files_outside_of_a_repository_are_rejected(hub):
    with pytest.raises(RequestError, match="not a file of a repository"):
        fetch_adapter(REPO, "../../../secret.safetensors")


def test_records_of_clips_download_nothing(hub):
    with pytest.raises(ModelNotFoundError, match="not on this machine"):
        locate_adapter(REPO, "a" * 64)
    assert hub.requests == []
    adapter = read(REPO)
    assert locate_adapter(REPO, adapter.sha256) == adapter.path
