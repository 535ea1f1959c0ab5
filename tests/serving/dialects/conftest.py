from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "http" / "conftest.py"
_spec = importlib.util.spec_from_file_location("serving_http_conftest", _PATH)
_http = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_http)


@pytest.fixture(scope="session")
def running():
    return _http.running


@pytest.fixture(scope="package")
def served(tmp_path_factory, running):
    with running(tmp_path_factory.mktemp("data")) as (client, server):
        yield client, server


@pytest.fixture
def client(served):
    return served[0]
