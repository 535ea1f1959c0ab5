"""The client against a real server with `mini`."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from soundloom import Client, Progress
from soundloom.audio.formats.containers import SourceFormat
from soundloom.client.address import find_token, server_url
from soundloom.client.jobs import kind_of, tasks_of
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import Canceled, ModelNotFoundError, OutputError, RequestError, ServerError
from tests.serving.http.conftest import TOKEN

RAIN = {"seconds": 1, "seed": 7}
EDITS = [
    ("vary", (), {"noise": 0.5}),
    ("vary", (), {"noise": 1.0}),
    ("vary", (), {"regions": [(0.2, 0.5)]}),
    ("inpaint", ([(0.2, 0.4)], "a 440 Hz tone"), {}),
    ("extend", (0.5,), {}),
    ("extend", (0.5,), {"before": True}),
    ("loop", (), {"seam": 0.2}),
]
# Every edit of a clip, each method on a take by its id, and two of them on a take and a path.
SOURCES = [
    *(("clip", *edit) for edit in EDITS),
    *(("id", *EDITS[i]) for i in (0, 3, 4, 6)),
    *((kind, *EDITS[i]) for kind in ("take", "path") for i in (2, 4)),
]


def test_a_clip_is_that_of_a_local_model(client, model):
    clip, expected = client.generate("rain", **RAIN), model.generate("rain", **RAIN)
    assert (clip.audio == expected.audio).all() and clip.sample_rate == expected.sample_rate
    assert dict(clip.record) == dict(expected.record)
    assert clip.source_format is None and len(clip.take) == 16


def test_a_list_of_prompts_gives_a_list_of_clips(client, model):
    clips = client.generate(["rain", "a 440 Hz tone"], seconds=[1, 0.5], seed=3)
    assert [clip.record["request"]["prompt"] for clip in clips] == ["rain", "a 440 Hz tone"]
    assert [clip.record["seed"] for clip in clips] == [3, 4]
    assert [clip.samples for clip in clips] == [44_100, 22_050]
    assert (clips[0].audio == model.generate("rain", seconds=1, seed=3).audio).all()
    assert client.generate([]) == []


@pytest.fixture(scope="module")
def local(model):
    return model.generate("rain", **RAIN)


@pytest.fixture(scope="module")
def made(served):
    with Client(served[0], TOKEN) as client:
        return client.generate("rain", **RAIN)


@pytest.mark.parametrize(("kind", "name", "arguments", "options"), SOURCES, ids=str)
def test_edits_are_those_of_a_local_model(client, model, made, local, tmp_path, kind, name, arguments, options):
    expected = getattr(model, name)(local, *arguments, seed=1, **options)
    source = {"take": made, "id": made.take, "clip": local, "path": tmp_path / "rain.wav"}[kind]
    if kind == "path":
        local.save(source, subtype="FLOAT")
    edited = getattr(client, name)(source, *arguments, seed=1, **options)
    assert (edited.audio == expected.audio).all()
    assert edited.record["mode"] == expected.record["mode"]
    if kind == "clip":
        assert dict(edited.record) == dict(expected.record)
    assert edited.source_format == (None if kind != "path" else SourceFormat("WAV", "FLOAT"))
    family = client.takes(parent=made.take, limit=1)
    assert kind in ("clip", "path") or (family[0]["id"], family[0]["kind"]) == (edited.take, name)


def test_the_first_bars_of_a_take_become_a_loop(client, model, made, local):
    looped = client.loop(made.take, bars=0.25, bpm=120, seam=0.2, seed=1)
    assert (looped.audio == model.loop(local, bars=0.25, bpm=120, seam=0.2, seed=1).audio).all()


def test_a_changed_take_is_an_ordinary_clip(client):
    clip = client.generate("rain", **RAIN)
    assert (clip.take and clip.cut(0, 100).take, clip.with_record({}).take) == ("", "")


def test_progress_comes_as_from_a_model(client):
    events = []
    client.generate("rain", seconds=4, seed=1, steps=200, progress=events.append)
    assert events and all(isinstance(event, Progress) for event in events)
    assert {event.stage for event in events} <= {"text", "sample", "decode"}
    assert events[-1].finished and (events[-1].clip, events[-1].clips) == (1, 1)


def test_an_event_cancels_the_job(client):
    cancel = threading.Event()
    with pytest.raises(Canceled):
        client.generate("rain", seconds=4, steps=2000, cancel=cancel, progress=lambda _: cancel.set())
    assert client.jobs()[-1]["state"] in ("canceling", "canceled")


def test_an_interruption_cancels_the_jobs(client):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.generate("rain", seconds=4, steps=2000, progress=interrupt)
    assert not [job for job in client.jobs(["queued", "running"]) if job["request"].get("steps") == 2000]


def test_a_job_that_someone_else_cancels_is_canceled(client, served):
    def cancel(_):
        with Client(served[0], TOKEN) as other:
            for job in other.jobs(["queued", "running"]):
                other.cancel(job["id"])

    with pytest.raises(Canceled, match="canceled on the server"):
        client.generate("rain", seconds=4, steps=2000, progress=cancel)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda client: client.generate("rain", step=5), RequestError, "no option 'step'"),
        (lambda client: client.generate("rain", steps=0), RequestError, "steps must be"),
        (lambda client: client.generate(5), RequestError, "a prompt must be"),
        (lambda client: client.generate("rain", seconds=1, shift=3), RequestError, "shift"),
        (lambda client: client.generate("rain", model="no-such-model"), ModelNotFoundError, "no model named"),
        (lambda client: client.generate("rain", model=5), RequestError, "a model is named by text"),
        (lambda client: client.generate("rain", loras="no-such"), RequestError, "no adapter named"),
        (lambda client: client.vary("a" * 16), RequestError, "no take"),
        (lambda client: client.vary(5), RequestError, "a Clip or the path"),
        (lambda client: client.take("../../etc"), RequestError, "letters and digits"),
        (lambda client: client.cancel("x" * 16), RequestError, "no job"),
        (lambda client: client.generate("qzx", seconds=1, seed=1, strict_words=True), RequestError, "sound"),
    ],
)
def test_errors_are_those_of_a_model(client, call, error, text):
    with pytest.raises(error, match=text):
        call(client)


def test_an_unusable_clip_does_not_cost_the_others(client):
    requests = [GenerationRequest("rain", **RAIN), GenerationRequest("wind", seconds=0.5, seed=4)]
    found = []
    with pytest.raises(OutputError, match="silent"):
        for index, clip in client.iter(requests):
            found.append((index, clip.samples))
    assert found == [(0, 44_100)]


def test_the_library_and_the_server_are_listed(client):
    clip = client.generate("rain", **RAIN)
    take = client.takes("rain", limit=1)[0]
    assert take["prompt"] == "rain" and take["audio"]["rate"] == 44_100
    assert (client.take(clip.take).audio == clip.audio).all()
    assert "mini" in [model["id"] for model in client.models()]
    assert client.jobs(limit=1000)[-1]["state"] == "succeeded"
    assert client.system()["model"] == "mini"


def test_a_wrong_token_is_one_sentence(served):
    for token in ("wrong", "x" * 5000):
        with Client(served[0], token) as client, pytest.raises(ServerError, match="refuses the token"):
            client.generate("rain", **RAIN)
    with pytest.raises(RequestError, match="ASCII"):
        Client(served[0], "naïve")


def test_the_token_of_this_machine_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path))
    monkeypatch.delenv("SOUNDLOOM_TOKEN", raising=False)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "token").write_text("stored\n")
    assert find_token("http://localhost:8157", None) == "stored"
    assert find_token("http://[::1]:8157", None) == "stored"
    assert find_token("http://workstation:8157", None) is None
    monkeypatch.setenv("SOUNDLOOM_TOKEN", "set")
    assert find_token("http://127.0.0.1", None) == "set"
    assert find_token("http://127.0.0.1", "given") == "given"


def test_addresses(tmp_path):
    assert server_url("workstation:8157/") == "http://workstation:8157"
    for text in ("", "ftp://x", "http://", "http://x:99999", "http://a b", 5, "http://x:port", "x\0"):
        with pytest.raises(RequestError, match="not the address"):
            server_url(text)


def test_requests_that_differ_by_seed_alone_are_one_job():
    requests = [GenerationRequest("rain", seed=seed) for seed in (1, 2, 3, 5)] + [GenerationRequest("wind", seed=6)]
    assert [task.indices for task in tasks_of(requests)] == [[0, 1, 2], [3], [4]]
    many = [GenerationRequest("rain", seed=seed) for seed in range(250)]
    assert [len(task.indices) for task in tasks_of(many)] == [100, 100, 50]
    assert kind_of(requests[0]) == "generate"


def test_audio_stays_exact(client):
    clip = client.generate("rain", **RAIN)
    assert clip.audio.dtype == np.float32 and clip.take == client.takes(limit=1)[0]["id"]
