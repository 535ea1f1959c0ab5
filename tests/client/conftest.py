from __future__ import annotations

import pytest

import soundloom
from soundloom import Client
from tests.cli.conftest import soundloom as run_command  # noqa: F401 (a fixture)
from tests.serving.http.conftest import TOKEN, running


@pytest.fixture(scope="package")
def served(tmp_path_factory):
    """The URL of a real server with `mini`, and the server."""
    with running(tmp_path_factory.mktemp("data")) as (http, server):
        yield str(http.base_url), server


@pytest.fixture
def client(served):
    with Client(served[0], TOKEN) as client:
        yield client


@pytest.fixture(scope="package")
def model():
    return soundloom.load("mini", engine="torch", device="cpu", threads=1, keep_loaded=True)
