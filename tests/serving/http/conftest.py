from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from types import MappingProxyType

import httpx
import pytest
import uvicorn

from soundloom.serving.dialects.gary.app import ByPort, create_gary_app
from soundloom.serving.http.app import create_app
from soundloom.serving.http.guard import Access
from soundloom.serving.http.tokens import Tokens
from soundloom.serving.server import OBJECTS, Server, ServerSettings
from soundloom.serving.worker.settings import WorkerSettings

TOKEN = "a-token-of-the-tests"


@contextmanager
def running(folder, *, gary=False, offline=False, users=MappingProxyType({}), **settings):
    """Run a real server on a free port of this machine, in a thread; yield a client and the server.

    With `gary`, the header x-gary of the client has the address of that interface.
    """
    sources = settings.get("sources", {})
    worker = WorkerSettings(
        str(folder / OBJECTS), engine="torch", device="cpu", threads=1, sources=sources, offline=offline
    )
    server = Server(ServerSettings(folder, {"cpu": worker}, drain=0, **settings))
    bound = bound_socket()
    port = bound.getsockname()[1]
    app = create_app(server, Access.at(port, Tokens.of({"tests": TOKEN}, users)))
    sockets = [bound]
    if gary:
        sockets.append(bound_socket())
        gary = sockets[1].getsockname()[1]
        app = ByPort(app, create_gary_app(server, gary), gary)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, lifespan="on")
    web = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(web.serve(sockets)), daemon=True)
    thread.start()
    headers = {"Authorization": f"Bearer {TOKEN}"} | ({"x-gary": f"http://127.0.0.1:{gary}"} if gary else {})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            for _ in range(6000):
                if web.started:
                    break
                threading.Event().wait(0.01)
            assert web.started
            yield client, server
    finally:
        web.should_exit = True
        thread.join(30)
        for one in sockets:
            one.close()
        assert not thread.is_alive()


def bound_socket():
    """Return a socket on a free port; since its protocol is named, asyncio turns off Nagle's algorithm."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    return bound


@pytest.fixture(scope="package")
def served(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data")) as (client, server):
        yield client, server


@pytest.fixture
def client(served):
    return served[0]
