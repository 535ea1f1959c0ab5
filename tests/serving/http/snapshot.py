"""The stored description of the interface: python -m tests.serving.http.snapshot renews it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from soundloom.serving.http.app import create_app
from soundloom.serving.http.guard import Access
from soundloom.serving.http.tokens import Tokens
from soundloom.serving.server import Server, ServerSettings

PATH = Path(__file__).with_name("openapi.json")


def described() -> dict[str, Any]:
    """Return what the server says of its interface, without the version of the program."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(ServerSettings(Path(folder), {}))
        found = create_app(server, Access.at(0, Tokens())).openapi()
        server.database.close()
    return {**found, "info": {**found["info"], "version": ""}}


if __name__ == "__main__":
    PATH.write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n")
