"""Code of other projects that tests run. It is fetched into the cache folder, and never becomes part of this project.

SOUNDLOOM_CLIENTS is `fetch`, as in `make clients`, or a folder with git repositories named `OWNER+NAME`, or
`OWNER+NAME/repo`. Tests skip with a message without it, without a network, and if a repository lacks the files.
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from soundloom.folders import cache_folder

GARY, COMFY, VLLM = "betweentwomidnights/gary-localhost-installer", "Comfy-Org/ComfyUI", "vllm-project/vllm-omni"
COMMITS = {  # those that the tests were written for
    GARY: "89ae662a37d875428e1a34fc7f13540e129dee5f",
    COMFY: "a125cd84b054a57729b5eecab930ca9408719832",
    VLLM: "c3dad346ff312e1bc761bc8990392e4a16e17adb",
}
FETCH_SECONDS = 300
_CACHE = cache_folder() / "clients"  # before a test changes the cache folder
_PATIENCE = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20")


def texts(repository: str, *paths: str) -> list[str]:
    """Return the text of files of a repository, or skip."""
    return [_git(repository, "show", path=path).decode() for path in paths]


def export(repository: str, folder: Path, *paths: str) -> Path:
    """Write the files that match Git's patterns of paths to a folder, or skip."""
    folder.mkdir(parents=True)
    archive = _git(repository, "archive", "--format=tar", path=paths)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def _git(repository: str, *command: str, path: str | tuple[str, ...]) -> bytes:
    place, commit = _repository(repository)
    what = [f"{commit}:{path}"] if isinstance(path, str) else [commit, "--", *path]
    done = subprocess.run(["git", f"--git-dir={place}", *command, *what], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the copy of {repository} lacks {path}")
    return done.stdout


@functools.cache
def _repository(name: str) -> tuple[Path, str]:
    """Return the Git folder of a repository, and the commit to read."""
    chosen = os.environ.get("SOUNDLOOM_CLIENTS")
    if not chosen:
        pytest.skip(f"SOUNDLOOM_CLIENTS does not ask for {name}; `make clients` fetches it")
    if chosen == "fetch":
        return _fetched(name, COMMITS[name]), COMMITS[name]
    place = Path(chosen) / name.replace("/", "+")
    place = place / "repo" if (place / "repo").is_dir() else place
    place = place / ".git" if (place / ".git").exists() else place
    if not place.is_dir():
        pytest.skip(f"{chosen} has no copy of {name}")
    return place, COMMITS[name] if _has(place, COMMITS[name]) else "HEAD"


def _fetched(name: str, commit: str) -> Path:
    place = _CACHE / name.replace("/", "+")
    if _has(place, commit):
        return place
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "--quiet", "--bare", str(place)], check=True)
    command = ["git", *_PATIENCE, f"--git-dir={place}", "fetch", "--quiet", "--depth=1"]
    try:
        done = subprocess.run(
            [*command, f"https://github.com/{name}", commit],
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            check=False,
        )
        reason = done.stderr.strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        reason = f"no end after {FETCH_SECONDS} s"
    if not _has(place, commit):
        pytest.skip(f"{name} cannot be fetched; is this machine offline? {reason}")
    return place


def _has(place: Path, commit: str) -> bool:
    command = ["git", f"--git-dir={place}", "cat-file", "-e", f"{commit}^{{commit}}"]
    return place.is_dir() and subprocess.run(command, capture_output=True, check=False).returncode == 0
