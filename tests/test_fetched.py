"""The code that fetches other projects for tests, with a local repository in place of GitHub."""

from __future__ import annotations

import subprocess

import pytest

from tests import fetched


@pytest.fixture
def github(tmp_path, monkeypatch):
    """Make github.com mean a folder; return that folder and the commit of its repository."""
    place = tmp_path / "github" / "owner" / "name"
    place.mkdir(parents=True)
    (place / "client.py").write_text("print(1)\n")

    def git(*command):
        return subprocess.run(["git", "-C", str(place), *command], check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", "First")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{tmp_path}/github/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    monkeypatch.setenv("SOUNDLOOM_CLIENTS", "fetch")
    monkeypatch.setattr(fetched, "_CACHE", tmp_path / "cache")
    monkeypatch.setitem(fetched.COMMITS, "owner/name", git("rev-parse", "HEAD").strip())
    monkeypatch.setitem(fetched.COMMITS, "owner/other", "0" * 40)
    fetched._repository.cache_clear()
    yield place
    fetched._repository.cache_clear()


def test_a_repository_is_fetched_once_at_its_commit(github, tmp_path):
    assert fetched.texts("owner/name", "client.py") == ["print(1)\n"]
    github.rename(tmp_path / "gone")
    fetched._repository.cache_clear()
    assert (fetched.export("owner/name", tmp_path / "out", "client.py") / "client.py").read_text() == "print(1)\n"


def test_what_cannot_be_fetched_is_skipped(github, monkeypatch, tmp_path):
    for name, text in (("owner/other", "cannot be fetched; is this machine offline"), ("owner/name", "lacks none.py")):
        with pytest.raises(pytest.skip.Exception, match=text):
            fetched.texts(name, "none.py")
    fetched._repository.cache_clear()
    for folder, text in ((str(tmp_path), "has no copy of owner/name"), ("", "`make clients` fetches it")):
        monkeypatch.setenv("SOUNDLOOM_CLIENTS", folder)
        with pytest.raises(pytest.skip.Exception, match=text):
            fetched.texts("owner/name", "client.py")
