"""Jobs on a real worker with `mini`: finished, failed, canceled, interrupted by crashes and restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest

import soundloom
from soundloom.audio.clip import Clip
from soundloom.errors import RequestError
from soundloom.serving.events import EventHub
from soundloom.serving.jobs.dispatcher import Dispatcher
from soundloom.serving.jobs.resolve import JobBody
from soundloom.serving.jobs.settings import DispatchSettings, JobEndedError, NotFoundError, QueueFullError
from soundloom.serving.storage.database import Database
from soundloom.serving.storage.events import events_after
from soundloom.serving.storage.jobs import list_jobs
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.takes import Search, get_take, list_takes
from soundloom.serving.worker.settings import WorkerSettings

SLOW = {"prompt": "rain", "seconds": 1, "steps": 400, "sampler": "euler"}  # seconds of work
SHORTER = SLOW | {"steps": 150}  # for jobs that run to their end


@asynccontextmanager
async def serving(folder, **settings):
    """Run a dispatcher with one CPU worker."""
    folder.mkdir(exist_ok=True)
    database, store = Database(folder / "library.db"), ObjectStore(folder / "objects")
    worker = WorkerSettings(str(store.folder), engine="torch", device="cpu", threads=1)
    dispatcher = Dispatcher(database, store, EventHub(), DispatchSettings({"cpu": worker}, **settings))
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(0)
        database.close()


def generate(request=None, **options):
    return JobBody(
        "generate", {"prompt": "rain", "seconds": 1, "seed": 7} if request is None else request, "mini", **options
    )


async def ended(dispatcher, job, seconds=60):
    """Wait for the end of a job."""
    async with asyncio.timeout(seconds):
        while job in dispatcher.queue:
            await asyncio.sleep(0.02)
    return await dispatcher.get(job)


async def running(dispatcher, seconds=60):
    """Wait until the worker samples."""
    async with asyncio.timeout(seconds):
        while not (dispatcher.devices[0].run and dispatcher.devices[0].run.stage == "sample"):
            await asyncio.sleep(0.01)
    return dispatcher.devices[0]


def run(coroutine):
    return asyncio.run(coroutine)


def alone(request, count):
    model = soundloom.load("mini", engine="torch", device="cpu")
    options = {name: value for name, value in request.items() if name not in ("prompt", "seed")}
    return [model.generate(request["prompt"], seed=request["seed"] + i, **options) for i in range(count)]


async def audio_of(dispatcher, item):
    take = await dispatcher.call(lambda connection: get_take(connection, item.take))
    return Clip.load(dispatcher.store.path(take.artifact.hash)).audio


def test_a_job_becomes_takes_with_the_models_own_clips(tmp_path):
    async def work():
        async with serving(tmp_path / "data") as dispatcher, dispatcher.hub.listen() as listener:
            job = await dispatcher.submit(generate(count=2), "me")
            done = await ended(dispatcher, job.id)
            assert (done.state, done.attempt) == ("succeeded", 0)
            assert [item.request["seed"] for item in done.items] == [7, 8]
            audio = [await audio_of(dispatcher, item) for item in done.items]
            vary = JobBody("vary", {"prompt": "wind", "seed": 1}, "mini", source=done.items[0].take)
            varied = await ended(dispatcher, (await dispatcher.submit(vary, "me")).id)
            take = await dispatcher.call(lambda connection: get_take(connection, varied.items[0].take))
            assert (take.kind, take.parent, take.client) == ("vary", done.items[0].take, "me")
            kinds = [notice.kind for notice in listener.waiting]
            stored = await dispatcher.call(lambda connection: events_after(connection, 0))
            assert [notice.id for notice in listener.waiting if notice.id] == [event.id for event in stored]
            return audio, kinds

    audio, kinds = run(work())
    for found, expected in zip(audio, alone({"prompt": "rain", "seconds": 1, "seed": 7}, 2), strict=True):
        assert abs(found - expected.audio).max() < 1e-4  # batches round differently
    assert {"job", "item", "take", "progress", "model", "system"} <= set(kinds)


def test_what_cannot_run_is_refused_before_it_is_stored(tmp_path):
    async def work():
        async with serving(tmp_path / "data", max_jobs=2, max_items=5) as dispatcher:
            await dispatcher.pause(True)
            with pytest.raises(RequestError, match="steps must be"):
                await dispatcher.submit(generate({"prompt": "rain", "steps": 0}), "me")
            with pytest.raises(NotFoundError, match="no take or uploaded file nothing"):
                await dispatcher.submit(JobBody("vary", {"prompt": "rain"}, "mini", source="nothing"), "me")
            with pytest.raises(NotFoundError):
                await dispatcher.get("nothing")
            await dispatcher.submit(generate(count=4), "me")
            with pytest.raises(QueueFullError, match="1 jobs with 4 clips wait already"):
                await dispatcher.submit(generate(count=2), "me")
            await dispatcher.submit(generate(), "me")
            with pytest.raises(QueueFullError):
                await dispatcher.submit(generate(), "me")
            assert len(await dispatcher.call(list_jobs)) == 2

    run(work())


def test_a_job_is_canceled_while_it_waits_and_while_it_runs(tmp_path):
    async def work():
        async with serving(tmp_path / "data") as dispatcher:
            first = await dispatcher.submit(generate(SLOW | {"seed": 1}), "me")
            other = await dispatcher.submit(generate(), "you")
            waiting = await dispatcher.submit(generate(), "me")
            await running(dispatcher)
            assert (await dispatcher.cancel(waiting.id)).state == "canceled"
            assert first.id in dispatcher.queue, "it does not wait for the one that runs"
            await dispatcher.cancel(first.id)
            assert (await ended(dispatcher, first.id)).state == "canceled"
            assert (await ended(dispatcher, other.id)).state == "succeeded"
            with pytest.raises(JobEndedError, match="it is canceled"):
                await dispatcher.cancel(first.id)
            again = await dispatcher.retry(waiting.id)
            assert again.state == "queued"
            assert (await ended(dispatcher, waiting.id)).state == "succeeded"

    run(work())


def test_a_killed_worker_costs_no_clip(tmp_path):
    request = SHORTER | {"seed": 3}

    async def work():
        async with serving(tmp_path / "data", max_batch=1) as dispatcher:
            quick = await dispatcher.submit(generate(), "me")
            job = await dispatcher.submit(generate(request, count=1), "me")
            await ended(dispatcher, quick.id)
            device = await running(dispatcher)
            os.kill(device.process.pid, signal.SIGKILL)
            done = await ended(dispatcher, job.id)
            assert (done.state, done.attempt, device.restarts) == ("succeeded", 1, 1)
            assert (await dispatcher.call(lambda connection: list_takes(connection, Search())))[1] == 2
            return await audio_of(dispatcher, done.items[0])

    found = run(work())
    assert found.tobytes() == alone(request, 1)[0].audio.tobytes()


@pytest.mark.parametrize(("is_canceled", "state"), [(False, "succeeded"), (True, "canceled")])
def test_a_job_outlives_a_worker_that_dies_while_it_loads_the_model(tmp_path, monkeypatch, is_canceled, state):
    async def work():
        async with serving(tmp_path / "data") as dispatcher:
            device = dispatcher.devices[0]
            load, deaths = device._load, []

            async def die_once(model, items):
                if not deaths:
                    deaths.append(model)
                    if is_canceled:
                        await dispatcher.cancel(items[0].job)
                    device.kill()
                return await load(model, items)

            monkeypatch.setattr(device, "_load", die_once)
            job = await dispatcher.submit(generate(count=2), "me")
            done = await ended(dispatcher, job.id)
            assert (done.state, deaths, device.restarts) == (state, ["mini"], 1)

    run(work())


@pytest.mark.slow
def test_finished_clips_stay_when_the_worker_is_killed(tmp_path):
    async def work():
        async with serving(tmp_path / "data", max_batch=1) as dispatcher:
            request = {"prompt": "rain", "seconds": 0.3, "steps": 150, "sampler": "euler", "seed": 3}
            job = await dispatcher.submit(generate(request, count=3), "me")
            async with asyncio.timeout(60):
                while (first := (await dispatcher.get(job.id)).items[0]).take is None:
                    await asyncio.sleep(0.005)
            os.kill(dispatcher.devices[0].process.pid, signal.SIGKILL)
            done = await ended(dispatcher, job.id)
            assert (done.state, done.items[0]) == ("succeeded", first)
            assert (await dispatcher.call(lambda connection: list_takes(connection, Search())))[1] == 3

    run(work())


def test_a_job_that_kills_its_worker_twice_fails_and_the_next_one_runs(tmp_path):
    async def work():
        async with serving(tmp_path / "data") as dispatcher:
            poison = await dispatcher.submit(generate(SLOW | {"seed": 3}), "me")
            behind = await dispatcher.submit(generate(), "me")
            for _ in range(2):
                device = await running(dispatcher)
                assert {item.job for item in device.run.items} == {poison.id}
                os.kill(device.process.pid, signal.SIGKILL)
                while device.run is not None:
                    await asyncio.sleep(0.01)
            failed = await ended(dispatcher, poison.id)
            assert failed.state == "failed"
            assert "killed by the system" in failed.reason and "0 of 1 clips are stored" in failed.reason
            assert (await ended(dispatcher, behind.id)).state == "succeeded"

    run(work())


def test_the_queue_outlives_the_server(tmp_path):
    async def first():
        async with serving(tmp_path / "data") as dispatcher:
            job = await dispatcher.submit(generate(SHORTER | {"seed": 3}), "me")
            waiting = await dispatcher.submit(generate(), "me")
            await running(dispatcher)
            return job.id, waiting.id

    async def second(job, waiting):
        async with serving(tmp_path / "data") as dispatcher:
            assert [*dispatcher.queue] == [job, waiting]
            found = await ended(dispatcher, job)
            assert (found.state, found.attempt) == ("succeeded", 0), "a stop is no crash"
            assert (await ended(dispatcher, waiting)).state == "succeeded"

    run(second(*run(first())))


def test_a_paused_queue_waits_and_can_be_reordered(tmp_path):
    async def work():
        async with serving(tmp_path / "data", max_batch=1) as dispatcher:
            await dispatcher.pause(True)
            first, second = [
                await dispatcher.submit(generate({"prompt": "rain", "seconds": 1}), "me") for _ in range(2)
            ]
            await dispatcher.move(second.id, first.id)
            await asyncio.sleep(0.2)
            assert len(dispatcher.queue) == 2
            await dispatcher.pause(False)
            found = [await ended(dispatcher, job.id) for job in (first, second)]
            assert found[1].started < found[0].started

    run(work())


def test_a_pause_outlives_the_server(tmp_path):
    async def first():
        async with serving(tmp_path / "data") as dispatcher:
            await dispatcher.pause(True)
            return (await dispatcher.submit(generate({"prompt": "rain", "seconds": 1}), "me")).id

    async def second(job):
        async with serving(tmp_path / "data") as dispatcher:
            assert dispatcher.is_paused
            await dispatcher.pause(False)
            assert (await ended(dispatcher, job)).state == "succeeded"
        async with serving(tmp_path / "data") as dispatcher:
            assert not dispatcher.is_paused

    run(second(run(first())))


def test_a_failing_clip_is_named_and_the_rest_is_kept(tmp_path):
    async def work():
        async with serving(tmp_path / "data") as dispatcher:
            # Euler with one step from pure noise: the checks of the result reject what is static.
            good = await ended(dispatcher, (await dispatcher.submit(generate(), "me")).id)
            path = dispatcher.store.path((await take_of(dispatcher, good)).artifact.hash)
            job = await dispatcher.submit(JobBody("vary", {"prompt": "rain"}, "mini", source=good.items[0].take), "me")
            path.unlink()
            failed = await ended(dispatcher, job.id)
            assert failed.state == "failed"
            assert failed.items[0].error["type"] == "audio-error"

    async def take_of(dispatcher, job):
        return await dispatcher.call(lambda connection: get_take(connection, job.items[0].take))

    run(work())


def test_an_idle_model_is_freed(tmp_path):
    async def work():
        async with serving(tmp_path / "data", keep_alive=0.3) as dispatcher:
            job = await dispatcher.submit(generate(), "me")
            await ended(dispatcher, job.id)
            device = dispatcher.devices[0]
            assert device.loaded.model == "mini"
            async with asyncio.timeout(60):
                while device.loaded.model:
                    await asyncio.sleep(0.05)
            assert (await ended(dispatcher, (await dispatcher.submit(generate(), "me")).id)).state == "succeeded"

    run(work())
