"""Users with tokens of their own see their own jobs and takes, and nothing else."""

from __future__ import annotations

from itertools import takewhile

import httpx
import pytest

from soundloom.errors import RequestError
from soundloom.serving.users import read_users
from tests.serving.http.conftest import running

USERS = {"anna": "token-of-anna-0123", "ben": "token-of-ben-01234"}
JOB = {"request": {"prompt": "rain", "seconds": 1, "steps": 1, "seed": 3}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data"), users=USERS) as (client, _):
        yield client


@pytest.fixture
def anna(server):
    with user(server, "anna") as client:
        yield client


@pytest.fixture
def ben(server):
    with user(server, "ben") as client:
        yield client


def user(server, name):
    return httpx.Client(base_url=server.base_url, headers={"X-API-Key": USERS[name]}, timeout=60)


def make(client, **body):
    return client.post("/v1/jobs", json={**JOB, **body}, headers={"Prefer": "wait=60"}).json()


def events(client):
    """Return the data of all stored events, as text."""
    with client.stream("GET", "/v1/events?after=0") as answer:
        lines = takewhile(lambda line: '"paused": false' not in line, answer.iter_lines())
        return "\n".join(lines)


def test_users_do_not_see_the_jobs_and_takes_of_others(server, anna, ben):
    job = make(anna)
    take = job["items"][0]["take"]
    assert [one["id"] for one in anna.get("/v1/jobs").json()] == [job["id"]]
    assert [one["id"] for one in anna.get("/v1/takes").json()["takes"]] == [take]
    assert ben.get("/v1/jobs").json() == []
    assert ben.get("/v1/takes").json() == {"takes": [], "count": 0}
    ends = ("", "/audio", "/peaks", "/measure", "/lineage")
    for path in (f"/v1/jobs/{job['id']}", *(f"/v1/takes/{take}{end}" for end in ends)):
        assert (anna.get(path).status_code, ben.get(path).status_code) == (200, 404), path
    for method, path in (
        ("POST", f"/v1/jobs/{job['id']}/cancel"),
        ("POST", f"/v1/jobs/{job['id']}/retry"),
        ("PATCH", f"/v1/takes/{take}"),
        ("DELETE", f"/v1/takes/{take}"),
    ):
        assert ben.request(method, path, json={}).status_code == 404, path
    refused = ben.post("/v1/jobs", json={"kind": "vary", "request": {"prompt": "a"}, "source": take})
    assert refused.status_code == 404 and take in refused.json()["detail"]
    assert server.get(f"/v1/takes/{take}").status_code == 200, "whoever runs the server sees everything"


def test_users_cannot_hold_the_queue_or_change_models(server, anna):
    for path in ("/v1/queue/pause", "/v1/models/mini/unload", "/v1/models/small-music/pull"):
        answer = anna.post(path)
        assert (answer.status_code, answer.json()["type"]) == (403, "not-allowed-error"), path
    assert anna.get("/v1/system").json()["user"] == "anna"
    assert server.get("/v1/system").json()["user"] is None


def test_events_of_others_are_left_out(server, anna, ben):
    with anna.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        while not next(lines).startswith("data:"):
            pass
        job = make(ben)["id"]
        server.post("/v1/queue/resume")
        while (line := next(lines)) != "event: queue":
            assert job not in line
    assert job in events(ben) and job not in events(anna)


def test_a_token_logs_a_browser_in_as_its_user(server):
    with httpx.Client(base_url=server.base_url) as browser:
        assert browser.post("/login", data={"token": "x" * 20}).status_code == 401
        assert browser.post("/login", data={"token": USERS["ben"]}).status_code == 303
        assert browser.get("/v1/system").json()["user"] == "ben"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("anna", "1 words"),
        ("anna short", "fewer than 16"),
        ("1anna 0123456789abcdef", "cannot be used"),
        ("browser 0123456789abcdef", "cannot be used"),
        ("anna 0123456789abcdef\nanna 0123456789abcdeg", "line 2"),
        ("anna 0123456789abcdef\nben 0123456789abcdef", "line 2"),
    ],
)
def test_faulty_files_of_users_are_refused(tmp_path, text, reason):
    (tmp_path / "users").write_text(text)
    with pytest.raises(RequestError, match=reason) as error:
        read_users(tmp_path / "users")
    assert "0123456789" not in str(error.value)


def test_a_file_of_users_may_have_comments(tmp_path):
    (tmp_path / "users").write_text("# the studio\n\nanna 0123456789abcdef\n")
    assert read_users(tmp_path / "users") == {"anna": "0123456789abcdef"}
    with pytest.raises(RequestError, match="cannot be read"):
        read_users(tmp_path / "nothing")
