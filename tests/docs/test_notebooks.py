"""The notebooks of the documentation: stored without outputs, in short cells, and they run offline with `mini`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_vocabulary import PATTERN

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MAX_WIDTH = 120  # of text; code is narrower
MAX_CODE_LINES, MAX_CODE_WIDTH = 8, 110
# Only the kernel's own connections, on this machine, are allowed.
OFFLINE = """
import socket

def _connect(self, address, connect=socket.socket.connect):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the notebook used the network: {address}")
    return connect(self, address)

socket.socket.connect = _connect
"""


def name_of(path: Path) -> str:
    return path.name


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_there_is_a_tutorial():
    assert [path.name for path in NOTEBOOKS] == ["tour.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_are_stored_without_outputs(path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_cells_read_well(path):
    found = cells(path)
    assert source(found[0]).startswith("# ")
    for cell in found:
        lines = source(cell).splitlines()
        is_code = cell["cell_type"] == "code"
        assert max(map(len, lines)) <= (MAX_CODE_WIDTH if is_code else MAX_WIDTH), source(cell)
        assert not is_code or len(lines) <= MAX_CODE_LINES, source(cell)
        assert not PATTERN.findall(source(cell))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_links_lead_to_pages(path):
    targets = [target for cell in cells(path) for target in re.findall(r"\]\(([^)#\s]+)", source(cell))]
    assert targets
    assert [target for target in targets if "://" not in target and not (path.parent / target).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    kernel = tmp_path / "jupyter" / "kernels" / "here"  # this Python, which may have no kernel installed
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "here", "language": "python"}))
    for name, value in {
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "HF_HUB_OFFLINE": "1",
        "SOUNDLOOM_CONFIG": str(tmp_path / "settings"),
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(OFFLINE))
    (tmp_path / "work").mkdir()
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="here", resources={"metadata": {"path": str(tmp_path / "work")}}
    )
    client.execute()  # raises the error of a cell
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    players = [data["text/html"] for data in shown if "text/html" in data]
    pictures = [data for data in shown if "image/png" in data]
    assert len(players) >= 5 and all("<audio" in text and "<svg" in text for text in players)
    assert len(pictures) == 2
    assert (tmp_path / "work" / "song.flac").is_file()
