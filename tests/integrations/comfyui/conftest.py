"""A server, and the nodes with stand-ins for what they import of ComfyUI."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from tests.serving.http.conftest import TOKEN, running

PACK = Path(__file__).parents[3] / "integrations" / "comfyui"


@pytest.fixture(scope="package")
def served(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data")) as (client, _):
        yield client


@pytest.fixture
def client(served, monkeypatch):
    """The server, whose address and token are in the environment as for ComfyUI."""
    monkeypatch.setenv("SOUNDLOOM_URL", str(served.base_url))
    monkeypatch.setenv("SOUNDLOOM_TOKEN", TOKEN)
    return served


class ProgressBar:
    """That of ComfyUI, as far as the nodes use it."""

    shown: list[int] = []  # noqa: RUF012

    def __init__(self, total):
        self.total = total
        self.shown.clear()

    def update_absolute(self, value):
        assert 0 <= value <= self.total
        self.shown.append(value)


@pytest.fixture
def pack(monkeypatch, tmp_path):
    """The package of nodes, loaded as ComfyUI loads it, with input and output folders in `tmp_path`."""
    for name in ("input", "output"):
        (tmp_path / name).mkdir()

    def save_path(prefix, folder):
        subfolder, _, name = prefix.rpartition("/")
        (Path(folder) / subfolder).mkdir(exist_ok=True)
        return str(Path(folder) / subfolder), name, 1, subfolder, prefix

    stand_ins = {
        "folder_paths": {
            "get_input_directory": lambda: str(tmp_path / "input"),
            "get_output_directory": lambda: str(tmp_path / "output"),
            "get_annotated_filepath": lambda name: str(tmp_path / "input" / name),
            "exists_annotated_filepath": lambda name: (tmp_path / "input" / name).is_file(),
            "get_save_image_path": save_path,
        },
        "comfy": {"__path__": []},
        "comfy.cli_args": {"args": types.SimpleNamespace(disable_metadata=False)},
        "comfy.model_management": {"throw_exception_if_processing_interrupted": lambda: None},
        "comfy.utils": {"ProgressBar": ProgressBar},
    }
    for name, values in stand_ins.items():
        module = types.ModuleType(name)
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    name = "comfyui_nodes_of_soundloom"
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    yield module
    for one in [one for one in sys.modules if one.startswith(f"{name}.")]:
        del sys.modules[one]
