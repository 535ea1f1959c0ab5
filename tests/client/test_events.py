"""Progress by events, also when the stream is cut or missing."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from soundloom import AsyncClient, Client
from soundloom.client import events, jobs
from soundloom.client.events import EventParser, ServerEvent
from soundloom.errors import Canceled
from tests.serving.http.conftest import TOKEN, running

LONG = {"seconds": 1, "seed": 7, "steps": 80, "sampler": "euler"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.02)


def counted(client):
    """Return the list to which the paths of the client's calls are added."""
    paths, request = [], client._http.request

    def count(**arguments):
        paths.append(arguments["url"])
        return request(**arguments)

    client._http.request = count
    return paths


def require_progress(found):
    """The stages come in order, each rises and ends once."""
    stages = [list(group) for _, group in itertools.groupby(found, lambda one: one.stage)]
    assert len({group[0].stage for group in stages}) == len(stages)
    for group in stages:
        steps = [one.step for one in group]
        assert steps == sorted(steps) and [one.finished for one in group] == [False] * (len(group) - 1) + [True]


def without_listeners(server):
    deadline = time.monotonic() + 30
    while server.hub.listeners:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def test_progress_comes_without_polling(client, served, monkeypatch):
    monkeypatch.setattr(jobs, "POLL_WAIT", 60)
    paths, found = counted(client), []
    clip = client.generate("rain", progress=found.append, **LONG)
    require_progress(found)
    assert len(found) > 3 and found[-1].stage == "decode" and any(one.seconds > 0 for one in found)
    assert len([path for path in paths if path.startswith("/v1/jobs/")]) <= 8, paths
    assert clip.samples == 44_100 and without_listeners(served[1])


def test_clips_of_several_jobs_have_their_numbers(client):
    found = []
    client.generate(["rain", "a 440 Hz tone"], seconds=[1, 0.5], seed=3, progress=found.append)
    require_progress([one for one in found if one.clip == 1])
    assert {(one.clip, one.clips) for one in found} <= {(1, 2), (2, 2)} and found[0].clip == 1


@pytest.mark.parametrize("length", [1, 3])
def test_streams_that_are_cut_are_resumed(served, length):
    """Each stream ends after a few blocks; the next one asks for what came after the last event."""
    with Client(served[0], TOKEN) as client:
        stream, seen, found = client._http.stream, [], []

        @contextmanager
        def cut(*arguments, headers, **options):
            seen.append(headers.get("Last-Event-ID"))
            with stream(*arguments, headers=headers, **options) as response:
                blocks = response.iter_bytes
                response.iter_bytes = lambda: itertools.islice(blocks(), length)
                yield response

        client._http.stream = cut
        clips = [client.generate("rain", progress=found.append, **LONG), client.generate("rain", **LONG)]
        assert (clips[0].audio == clips[1].audio).all()
    require_progress(found)
    assert len(seen) > 2 and seen[0] is None and (length == 1 or any(seen))
    assert without_listeners(served[1])


@contextmanager
def refuse(*_, **__):
    raise httpx.ConnectError("refused")
    yield


@contextmanager
def hold_back(*_, **__):
    """A proxy that keeps events to itself."""
    time.sleep(1)
    raise httpx.ReadTimeout("nothing came")
    yield


def answer(status):
    @contextmanager
    def answered(*_, **__):
        yield httpx.Response(status)

    return answered


@pytest.mark.parametrize(
    "stream", [refuse, hold_back, answer(429), answer(404), answer(200)], ids=["lost", "held", "429", "404", "empty"]
)
def test_without_events_the_job_is_asked_for(served, stream):
    with Client(served[0], TOKEN) as client:
        client._http.stream, found, paths = stream, [], counted(client)
        client.generate("rain", progress=found.append, **LONG)
        require_progress(found)
        assert len([path for path in paths if path.startswith("/v1/jobs/")]) > 1


def test_users_of_a_server_get_the_events_of_their_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "POLL_WAIT", 60)
    ann = "a" * 20
    with running(tmp_path, users={"ann": ann}) as (http, _), Client(str(http.base_url), ann) as client:
        found = []
        client.generate("rain", progress=found.append, **LONG)
        require_progress(found)


def test_a_job_is_canceled_within_a_moment(client, served):
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(Canceled):
        client.generate("rain", seconds=4, steps=2000, cancel=cancel)
    assert time.monotonic() - start < 20 and without_listeners(served[1])  # all steps take longer


def test_events_for_asyncio(served):
    async def use():
        async with AsyncClient(served[0], TOKEN) as client:
            found: list[list] = [[], []]
            calls = [
                client.generate("rain", progress=one.append, **LONG | {"seed": 7 + n}) for n, one in enumerate(found)
            ]
            await asyncio.gather(*calls)
            task = asyncio.create_task(client.generate("rain", progress=lambda _: None, seconds=4, steps=2000))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return found

    for found in asyncio.run(use()):
        require_progress(found)
        assert len(found) > 2
    assert without_listeners(served[1])


def test_events_of_asyncio_may_be_missing(served):
    async def use():
        async with AsyncClient(served[0], TOKEN) as client:
            found = []
            client._http.stream = lambda *_, **__: None
            await client.generate("rain", progress=found.append, **LONG)
            return found

    require_progress(asyncio.run(use()))


STREAM = (
    'retry: 1000\n\nid: 7\nevent: hello\ndata: {"time": 1.5}\n\n: \n\nevent: progress\ndata: {"id": "a"}\n\n'
    'id: 8\nevent: take\ndata: {"title": "a: b\u2028\x85c\u00e9"}\n\nid: 9\nevent: bye\ndata: [1]\n\n'
    "event: odd\ndata: {\n\nevent: empty\n\nid: 10\nevent: half"
).encode()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_parsed_from_blocks_of_any_size(size):
    parser = EventParser()
    assert parser.start() == {"Accept": "text/event-stream"}
    found = [event for start in range(0, len(STREAM), size) for event in parser.feed(STREAM[start : start + size])]
    assert found == [
        ServerEvent("hello", {"time": 1.5}),
        ServerEvent("progress", {"id": "a"}),
        ServerEvent("take", {"title": "a: b\u2028\x85c\u00e9"}),
        ServerEvent("bye"),
        ServerEvent("odd"),
        ServerEvent("empty"),
    ]
    assert parser.start()["Last-Event-ID"] == "9"
    assert parser.feed(b"event: x\n\n") == [ServerEvent("x")]
