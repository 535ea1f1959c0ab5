"""Downloads from a local fake hub through the real client library."""

import logging
import os
import shutil
import socket
import threading
import time
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from soundloom.checkpoints.hub import first_downloads
from soundloom.checkpoints.hub.cache import download_faults
from soundloom.checkpoints.hub.fetch import fetch, files_needed
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import RemoteFile
from soundloom.errors import DownloadError
from tests.checkpoints.hub_server import COMMIT, point_client_at, serve

MUSIC = CATALOGUE["small-music"]


def without_sizes(source):
    return replace(source, files=tuple(RemoteFile(file.path) for file in source.files))


ENTRY = replace(MUSIC, sources=tuple(map(without_sizes, MUSIC.sources)), text_encoder=without_sizes(MUSIC.text_encoder))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("SOUNDLOOM_ACCEPT_LICENSE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve() as server:
        point_client_at(server.url, monkeypatch)
        server.repos[ENTRY.repo] = {file.path: file.path.encode() * 1000 for file in ENTRY.sources[0].files}
        yield server


def get(entry=ENTRY, layout="published", **options):
    return fetch(entry, layout, **{"accept_license": True, **options})


def test_fetches_all_files_of_the_pinned_commit(hub):
    fetched = get()
    assert fetched.weights.read_bytes() == b"model.safetensors" * 1000
    assert fetched.weights.parent.name == COMMIT
    assert fetched.text_encoder == fetched.weights.parent / "t5gemma-b-b-ul2"
    assert (fetched.text_encoder / "tokenizer.model").is_file()


def test_a_complete_copy_needs_neither_network_nor_consent(hub):
    first = get()
    hub.requests.clear()
    assert fetch(ENTRY) == first
    assert fetch(ENTRY, offline=True) == first
    assert hub.requests == []


def test_there_is_no_request_before_the_license_is_accepted(hub):
    with pytest.raises(DownloadError, match=r"license of small-music was not accepted(.|\n)*Gemma Terms of Use"):
        fetch(ENTRY)
    assert hub.requests == []


def test_a_gated_repository_says_where_to_accept_its_terms(hub):
    hub.gated.add(ENTRY.repo)
    with pytest.raises(DownloadError, match="accepted its terms") as caught:
        get()
    assert f"https://huggingface.co/{ENTRY.repo}" in caught.value.hint


def test_a_missing_repository_is_named(hub):
    hub.repos.clear()
    with pytest.raises(DownloadError, match=f"no repository {ENTRY.repo}"):
        get()


def test_a_missing_file_is_named(hub):
    del hub.repos[ENTRY.repo]["model.safetensors"]
    with pytest.raises(DownloadError, match=r"has no file model\.safetensors"):
        get()


def test_an_unknown_pinned_commit_points_to_the_revision_option(hub):
    entry = replace(ENTRY, sources=(replace(ENTRY.sources[0], revision="0fef1392"),))
    assert get(entry).weights.parent.name == COMMIT
    hub.commits = ["c" * 40]
    with pytest.raises(DownloadError, match="no commits that start with 0fef1393") as caught:
        get(entry, revision="0fef1393")
    assert "--revision" in caught.value.hint


def test_another_revision_can_be_named(hub):
    assert get(revision="b" * 40).weights.parent.name == "b" * 40


def test_a_broken_transfer_is_retried(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut_after = 9000
    assert (get().weights.parent / "model_config.json").read_bytes() == b"model_config.json" * 1000
    assert sum("GET" in request and "model_config.json" in request for request in hub.requests) == 2


def test_a_transfer_that_keeps_breaking_is_reported(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut_after, hub.cuts_left = 9000, 100
    with pytest.raises(DownloadError, match=r"model_config\.json of .* could not be downloaded") as caught:
        get()
    assert "try again" in caught.value.hint


def test_a_file_of_the_wrong_size_is_rejected(hub):
    files = (RemoteFile("model_config.json"), RemoteFile("model.safetensors", 5))
    entry = replace(ENTRY, sources=(replace(ENTRY.sources[0], files=files),))
    with pytest.raises(DownloadError, match="has 17000 bytes instead of 5"):
        get(entry)


def test_a_missing_file_offline_is_reported(hub):
    with pytest.raises(DownloadError, match="not in the cache, and downloads are disabled"):
        get(offline=True)
    assert hub.requests == []


def test_offline_mode_of_the_client_is_honored(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="downloads are disabled"):
        get()


def test_a_missing_network_is_reported(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits between its attempts
    point_client_at("http://127.0.0.1:1", monkeypatch)
    with pytest.raises(DownloadError, match=r"seems to be offline: model_config\.json") as caught:
        get(revision="b" * 40)
    assert "--model FOLDER" in caught.value.hint
    assert "t5gemma-b-b-ul2/tokenizer.model" in caught.value.hint
    with pytest.raises(DownloadError, match="seems to be offline: the list of commits"):
        get(revision="0fef1393")


def test_server_errors_are_quoted(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.failing = True
    with pytest.raises(DownloadError, match=r"model_config\.json .* could not be downloaded: .*500"):
        get(revision="b" * 40)


def test_the_mirror_is_completed_by_the_original_text_encoder(hub):
    mirror = ENTRY.source("bf16-mirror")
    hub.repos[mirror.repo] = {f"small-music/{file.path}": b"mirrored" for file in mirror.files}
    fetched = get(layout="bf16-mirror")
    assert fetched.weights.read_bytes() == b"mirrored"
    assert fetched.weights.parent.name == "small-music"
    assert fetched.text_encoder.name == "t5gemma-b-b-ul2"


def test_files_needed_lists_every_file_with_its_repository():
    needed = files_needed(MUSIC, "npz")
    assert {repo for repo, _ in needed} == {"stabilityai/stable-audio-3-optimized"}
    assert next(file.path for _, file in needed) == "dit_sm-music_f16.npz"
    assert sum(file.size for _, file in files_needed(MUSIC) if file.size) == 2_270_384_940 + 1_183_022_944


def test_a_file_with_a_wrong_hash_is_rejected_and_removed(hub):
    files = (RemoteFile("model_config.json", sha256="0" * 64),)
    entry = replace(ENTRY, sources=(replace(ENTRY.sources[0], files=files),))
    with pytest.raises(DownloadError, match=f"has the sha256 [0-9a-f]{{64}} instead of the pinned {'0' * 64}"):
        get(entry)
    with pytest.raises(DownloadError, match="not in the cache"):
        get(entry, offline=True)


def unpinned():
    return replace(ENTRY, sources=(replace(ENTRY.sources[0], revision=None),))


def cache():
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def test_without_a_pin_the_first_download_is_trusted(hub):
    first = get(unpinned())
    shutil.rmtree(cache())
    hub.commits = ["c" * 40, *hub.commits]  # the branch has moved
    assert get(unpinned()).weights == first.weights
    shutil.rmtree(cache())
    hub.repos[ENTRY.repo]["model.safetensors"] = b"something else"
    with pytest.raises(DownloadError, match=r"model\.safetensors .* but its first download had .*; it was removed"):
        get(unpinned())
    assert get(unpinned(), revision="c" * 40).weights.read_bytes() == b"something else"


def test_a_cached_model_without_a_pin_needs_no_network(hub):
    first = get(unpinned())
    hub.requests.clear()
    assert get(unpinned()) == get(unpinned(), offline=True) == first
    assert hub.requests == []


def test_verify_finds_a_damaged_download(hub):
    weights = get(revision="b" * 40).weights
    assert download_faults([weights, weights.parent / "model_config.json"]) == []
    data = bytearray(weights.read_bytes())
    data[1000] ^= 4
    weights.write_bytes(data)
    (fault,) = download_faults([weights, weights.parent / "model_config.json"])
    assert "model.safetensors is damaged" in fault


def test_partial_files_of_killed_downloads_are_removed_by_the_next(hub):
    blobs = cache() / f"models--{ENTRY.repo.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (cache() / ".locks" / blobs.parent.name).mkdir(parents=True)
    partial = blobs / f"{'a' * 40}.12345678.incomplete"
    partial.write_bytes(b"half")
    get()
    assert not partial.exists()


def test_a_damaged_record_of_downloads_is_reported(hub, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "downloads.json").write_text("[" * 5000)
    with pytest.raises(DownloadError, match=r"downloads\.json cannot be read"):
        get(unpinned())


@pytest.mark.skipif(os.name == "nt", reason="Windows knows the home folder otherwise")
@pytest.mark.parametrize("settings", ["not a folder", "no home"])
def test_a_download_that_cannot_be_recorded_is_used(hub, tmp_path, monkeypatch, caplog, settings):
    if settings == "no home":
        monkeypatch.delenv("SOUNDLOOM_CONFIG")
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setattr(Path, "home", raise_no_home)
    else:
        (tmp_path / "config").touch()
    with caplog.at_level(logging.WARNING):
        assert get().weights.is_file()
    assert "the consent to the license of small-music could not be stored" in caplog.text
    assert f"{ENTRY.repo} was downloaded, but its hashes could not be recorded" in caplog.text


def raise_no_home():
    raise RuntimeError("no home")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not lock folders")
def test_concurrent_downloads_are_all_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "config"))
    record, write = first_downloads.record_download, first_downloads.write_json

    def write_slowly(path, data):
        time.sleep(0.02)
        write(path, data)

    monkeypatch.setattr(first_downloads, "write_json", write_slowly)
    names = [f"owner/{i}" for i in range(5)]
    threads = [threading.Thread(target=partial(record, is_default=True), args=(name, COMMIT, {})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [first_downloads.trusted_commit(name) for name in names] == [COMMIT] * 5


@pytest.mark.parametrize("proxies", [{"no": "localhost"}, {"ftp": "http://proxy"}, {"https": ""}])
def test_proxy_exceptions_do_not_count_as_a_proxy(hub, monkeypatch, proxies):
    asked = []

    def refuse(host, *_):
        asked.append(host)
        raise OSError("no address")

    monkeypatch.setattr(urllib.request, "getproxies", lambda: proxies)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DownloadError, match="seems to be offline"):
        get()
    assert asked == ["127.0.0.1"]  # once: the client, which asks again and again, was not reached
