"""The client for asyncio against a real server with `mini`."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from soundloom import AsyncClient, Client
from soundloom.errors import Canceled, ServerError
from tests.serving.http.conftest import TOKEN

RAIN = {"seconds": 1, "seed": 7}


def run(served, use):
    async def call():
        async with AsyncClient(served[0], TOKEN) as client:
            return await use(client)

    return asyncio.run(call())


def test_clips_are_those_of_the_client(served, client):
    async def use(remote):
        one = await remote.generate("rain", **RAIN)
        return one, await remote.vary(one, seed=2), await remote.takes("rain"), await remote.system()

    one, varied, takes, system = run(served, use)
    assert (one.audio == client.generate("rain", **RAIN).audio).all()
    assert (varied.audio == client.vary(one, seed=2).audio).all()
    assert takes[0]["prompt"] == "rain" and system["model"] == "mini"


def test_calls_wait_at_the_same_time(served, client):
    async def use(remote):
        return await asyncio.gather(
            remote.generate("rain", **RAIN), remote.generate(["rain", "a 440 Hz tone"], seconds=1, seed=3)
        )

    one, (two, three) = run(served, use)
    # Clips that run together differ from those that run alone by rounding.
    assert np.allclose(one.audio, client.generate("rain", **RAIN).audio, atol=1e-3)
    assert [clip.record["seed"] for clip in (one, two, three)] == [7, 3, 4]


def test_canceling_a_task_cancels_its_job(served, client):
    async def use(remote):
        started = asyncio.Event()
        long = remote.generate("rain", seconds=4, steps=3000, progress=lambda _: started.set())
        task = asyncio.create_task(long)
        await asyncio.wait_for(started.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await remote.generate("rain", seconds=4, steps=3001)

    run(served, use)
    left = client.jobs(["queued", "running"])
    assert not [job for job in left if job["request"].get("steps") in (3000, 3001)]


def test_a_wrong_token_and_a_canceled_job_are_errors(served, client):
    async def use(remote):
        async with AsyncClient(served[0], "wrong") as wrong:
            with pytest.raises(ServerError, match="refuses the token"):
                await wrong.system()

        def cancel(_):
            with Client(served[0], TOKEN) as other:
                for job in other.jobs(["queued", "running"]):
                    other.cancel(job["id"])

        with pytest.raises(Canceled):
            await remote.generate("rain", seconds=4, steps=3000, progress=cancel)

    run(served, use)
