"""The client when connections are lost, and when there is no server."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from soundloom import AsyncClient, Client
from soundloom.client import protocol
from soundloom.errors import ServerError
from tests.serving.http.conftest import TOKEN, running

RAIN = {"seconds": 1, "seed": 7}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.001)


@pytest.fixture
def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def cut(client, is_cut):
    """Lose the answers of calls whose numbers, from 1, `is_cut` accepts; the server gets the calls."""
    request, count = client._http.request, 0

    def cutting(**arguments):
        nonlocal count
        count += 1
        answer = request(**arguments)
        if is_cut(count):
            raise httpx.ReadError("the connection was cut")
        return answer

    client._http.request = cutting


@pytest.mark.parametrize("is_cut", [lambda number: number % 2 == 0, lambda number: number % 3 != 1], ids=["2", "3"])
def test_lost_answers_are_asked_for_again_and_nothing_is_done_twice(served, is_cut):
    with Client(served[0], TOKEN) as client:
        before = len(client.jobs(limit=1000)), len(client.takes(limit=500))
        cut(client, is_cut)
        first = client.generate("rain", **RAIN)
        clips = [first, client.vary(first.cut(0, 22_050), "rain", seed=2), *client.generate(["rain"] * 3, seconds=1)]
    with Client(served[0], TOKEN) as client:
        assert len({clip.take for clip in clips}) == 5
        jobs, takes = len(client.jobs(limit=1000)), len(client.takes(limit=500))
        assert (jobs - before[0], takes - before[1]) == (3, 5)


def test_a_server_that_comes_back_is_waited_for(served):
    with Client(served[0], TOKEN) as client:
        client.system()
        request, count = client._http.request, 0

        def away(**arguments):
            nonlocal count
            count += 1
            if count < protocol.ATTEMPTS:
                raise httpx.ConnectError("refused")
            return request(**arguments)

        client._http.request = away
        assert client.system()["model"] == "mini"
        count = -protocol.ATTEMPTS
        with pytest.raises(ServerError, match="does not answer: refused"):
            client.system()


def test_without_a_server_there_is_one_sentence(free_port):
    url = f"http://127.0.0.1:{free_port}"
    with Client(url, TOKEN) as client, pytest.raises(ServerError, match=f"{url} does not answer") as found:
        client.generate("rain", **RAIN)
    assert "soundloom serve" in found.value.hint and "\n" not in found.value.args[0]

    async def use():
        async with AsyncClient(url, TOKEN) as client:
            await client.system()

    with pytest.raises(ServerError, match="does not answer"):
        asyncio.run(use())


def test_a_stopped_server_ends_a_call_with_a_sentence(tmp_path):
    with running(tmp_path) as (http, _):
        client = Client(str(http.base_url), TOKEN)
        assert client.system()["model"] == "mini"
    with client, pytest.raises(ServerError, match="does not answer"):
        client.generate("rain", **RAIN)


@pytest.mark.parametrize(
    ("status", "content", "text"),
    [
        (200, b"<html>", "without JSON"),
        (404, b"not here", "answered 404 without a reason"),
        (500, b'{"type": "internal-error", "detail": "the server has a fault"}', "the server has a fault"),
        (401, b"", "refuses the client"),
        (418, b"[]", "answered 418"),
    ],
)
def test_other_programs_are_told_from_servers(status, content, text):
    with Client("http://127.0.0.1:1", TOKEN) as client:
        client._http = httpx.Client(
            base_url="http://127.0.0.1:1",
            transport=httpx.MockTransport(lambda _: httpx.Response(status, content=content)),
        )
        with pytest.raises(ServerError, match=text):
            client.system()


def test_without_httpx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(Exception, match="httpx") as found:
        Client()
    assert "soundloom[serve]" in found.value.hint
