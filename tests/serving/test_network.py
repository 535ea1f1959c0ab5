"""With --offline, neither the server nor its worker nor its decoders open a connection to another machine."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest

from tests.serving.http.test_uploads import sound
from tests.serving.test_serve import serving, token

# Python runs this file at the start of every process that has its folder on the path.
REFUSE = """
import os, sys
log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(log, f"STARTED {{os.getpid()}} {{' '.join(sys.orig_argv)}}\\n".encode())

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"  # a path is a socket of this machine
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"):
        os.write(log, f"NETWORK {{event}} {{arguments}}\\n".encode())
        raise OSError(101, "Network is unreachable")

sys.addaudithook(refuse)
"""


@pytest.mark.slow
def test_an_offline_server_makes_no_connection(tmp_path):
    log = tmp_path / "network.log"
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(REFUSE.format(log=str(log)))
    path = os.pathsep.join([str(tmp_path / "hooks"), os.environ.get("PYTHONPATH", "")])
    data = tmp_path / "data"
    with (
        serving(data, "--offline", PYTHONPATH=path, HF_HUB_OFFLINE="0") as (_, url, _),
        httpx.Client(base_url=url, headers=token(data), timeout=60) as client,
    ):
        file = client.post("/v1/uploads", files={"file": ("a.wav", sound(0.3))}).json()["id"]
        body = {"kind": "vary", "source": file, "request": {"prompt": "rain", "steps": 1}}
        assert client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()["state"] == "succeeded"
        for route in ("/v1/models", "/v1/loras", "/v1/system", "/metrics", "/v1/takes"):
            assert client.get(route).status_code == 200
        pull = client.post("/v1/models/small-music/pull", json={"accept_license": True})
        assert pull.status_code == 422 and "--offline" in pull.json()["detail"]
        assert client.post("/v1/models/small-music/load").status_code == 404
        unknown = {"model": "small-music", "request": {"prompt": "rain", "seconds": 1}}
        assert client.post("/v1/jobs", json=unknown).status_code == 404
    lines = log.read_text().splitlines()
    started = " ".join(line for line in lines if line.startswith("STARTED"))
    assert "soundloom serve" in started and "spawn_main" in started and "soundloom.serving.decode" in started
    assert not [line for line in lines if line.startswith("NETWORK")]
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    refused = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert refused.returncode != 0
    assert "NETWORK" in log.read_text()
