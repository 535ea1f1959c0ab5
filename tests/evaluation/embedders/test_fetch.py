"""Fetching weights: other content, no connection, damage. Real wheels are fetched in test_published."""

import numpy as np
import pytest

from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.cli.main import main
from soundloom.errors import CorruptFileError, DownloadError, RequestError
from soundloom.evaluation.embedders.fetch import fetch_weights, find_fetched
from soundloom.evaluation.embedders.load import EMBEDDERS, load_embedder
from soundloom.evaluation.embedders.weights import HUB, PACKAGED, weights_path


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_another_wheel_than_the_pinned_one_is_not_used(tmp_path):
    wheel = tmp_path / "aisfx-0.1.2-py2.py3-none-any.whl"
    wheel.write_bytes(b"not this one")
    with pytest.raises(DownloadError, match="instead of the pinned bfe219950715"):
        fetch_weights("aisfx", wheel, print)
    assert find_fetched("aisfx") is None


def test_without_a_connection_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    notes = []
    with pytest.raises(DownloadError, match=r"musicnn-0\.1\.0-py3-none-any\.whl could not be downloaded") as caught:
        fetch_weights("musicnn", None, notes.append)
    assert notes == ["downloading musicnn==0.1.0 from the package index"]
    assert "--wheel musicnn-0.1.0-py3-none-any.whl" in caught.value.hint


def test_the_hub_offline_says_where_the_files_are(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="downloads are disabled") as caught:
        fetch_weights("clap-general", None, print)
    assert "larger_clap_general/tree/ada0c23a" in caught.value.hint


def test_damaged_weights_are_refused_when_they_are_loaded():
    path = weights_path(PACKAGED["aisfx"])
    path.parent.mkdir(parents=True)
    write_safetensors(path, [from_array("conv1.weight", np.zeros(3, np.float32))])
    assert find_fetched("aisfx") is None
    with pytest.raises(CorruptFileError, match="its sha256 is not the pinned one"):
        load_embedder("aisfx")


def test_names_without_weights_and_missing_wheels_are_refused(tmp_path):
    with pytest.raises(RequestError, match="log-mel has no weights to fetch"):
        fetch_weights("log-mel", None, print)
    with pytest.raises(RequestError, match="clap-general has no weights in a wheel"):
        fetch_weights("clap-general", tmp_path, print)
    with pytest.raises(RequestError, match="there is no file"):
        fetch_weights("aisfx", tmp_path / "none.whl", print)


def test_every_repository_has_a_pinned_commit_and_hash_of_its_weights():
    for weights in HUB.values():
        assert len(weights.source.revision) == 40
        assert len(weights.source.files[0].sha256) == 64


def test_the_list_names_all_embedders(capsys, tmp_path):
    (tmp_path / "config" / "embedders").mkdir(parents=True)
    for name in ("vggish", "mine"):
        (tmp_path / "config" / "embedders" / f"{name}.toml").write_text('python = "python3"')
    assert main(["eval", "fetch", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EMBEDDERS)
    assert printed.count("not fetched") == len(PACKAGED) + len(HUB)
    states = {line.split()[0]: line for line in printed.splitlines()}
    assert "not configured" in states["muq"]
    assert all(" configured " in states[name] for name in ("vggish", "mine"))


def test_an_unknown_name_is_answered_with_the_nearest(capsys):
    assert main(["eval", "fetch", "aisfy"]) == 2
    assert "did you mean aisfx" in capsys.readouterr().err
