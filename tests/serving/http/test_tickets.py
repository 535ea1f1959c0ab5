"""Takes that are handed over to other programs: addresses that work once, and the file manager."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from email.message import Message
from pathlib import Path

import httpx
import pytest
import soundfile

from soundloom.serving.http import tickets
from tests.serving.http.conftest import running

BODY = {"request": {"prompt": "rain", "seconds": 0.3, "seed": 7, "steps": 2}}
USERS = {"anna": "token-of-anna-0123"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A client of a server with an output folder, that folder, and a take."""
    folder = tmp_path_factory.mktemp("music")
    with running(tmp_path_factory.mktemp("data"), output=folder, users=USERS) as (client, _):
        done = client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}).json()
        yield client, folder, done["items"][0]["take"]


def fetch(client, url, **headers):
    """Get an address without a token."""
    with httpx.Client(base_url=client.base_url) as bare:
        return bare.get(url, headers=headers)


def file_name(answer):
    message = Message()
    message["Content-Disposition"] = answer.headers["content-disposition"]
    assert message.get_content_disposition() == "attachment"
    return message.get_filename()


@pytest.mark.parametrize(("format", "kind"), [("wav", "audio/wav"), ("flac", "audio/flac"), ("mp3", "audio/mpeg")])
def test_a_ticket_works_once_and_without_a_token(made, format, kind):
    client, _, take = made
    answer = client.post(f"/v1/takes/{take}/ticket", json={"format": format})
    assert answer.status_code == 201
    ticket = answer.json()
    assert (ticket["name"], ticket["media_type"]) == (f"rain-7.{format}", kind)
    assert 50 < ticket["expires"] - time.time() <= 60
    first, second = fetch(client, ticket["url"]), fetch(client, ticket["url"])
    assert (first.status_code, second.status_code) == (200, 404)
    assert (file_name(first), first.headers["content-type"]) == (f"rain-7.{format}", kind)
    assert first.headers["cache-control"] == "no-store"
    assert soundfile.info(io.BytesIO(first.content)).frames == 13_230


def test_tickets_have_the_title_as_name_and_need_no_body(made):
    client, _, take = made
    client.patch(f"/v1/takes/{take}", json={"title": "Régen/雨"})
    ticket = client.post(f"/v1/takes/{take}/ticket").json()
    assert ticket["url"].isascii()
    assert file_name(fetch(client, ticket["url"])) == "Régen-雨.wav" == ticket["name"]
    assert file_name(client.get(f"/v1/takes/{take}/audio?download=true")) == "Régen-雨.wav"
    client.patch(f"/v1/takes/{take}", json={"title": ""})


def test_old_tickets_are_refused(made, monkeypatch):
    client, _, take = made
    url = client.post(f"/v1/takes/{take}/ticket").json()["url"]
    monkeypatch.setattr(tickets, "TICKET_SECONDS", -1.0)
    old = client.post(f"/v1/takes/{take}/ticket").json()["url"]
    assert (fetch(client, old).status_code, fetch(client, url).status_code) == (404, 200)


def test_guessing_is_stopped(tmp_path):
    with running(tmp_path) as (client, _):
        statuses = [fetch(client, "/v1/tickets/guess/rain.wav").status_code for _ in range(12)]
        assert statuses == [404] * 10 + [429] * 2
        assert fetch(client, "/v1/system", **{"X-API-Key": "guess"}).status_code == 429  # as after wrong tokens
        assert client.get("/v1/system").status_code == 200


def test_only_the_newest_tickets_are_kept():
    found = tickets.Tickets()
    secrets = [found.add(tickets.Ticket(Path(), "", "", time.time() + 60)) for _ in range(tickets.MAX_TICKETS + 5)]
    assert len(found.tickets) == tickets.MAX_TICKETS
    assert found.use(secrets[0]) is None and found.use(secrets[-1]) is not None


def test_wrong_tickets_are_problems(served):
    client, _ = served
    assert client.post("/v1/takes/nothing/ticket").status_code == 404
    assert client.post("/v1/takes/nothing/ticket", json={"format": "aac"}).status_code == 422
    assert client.post("/v1/takes/nothing/ticket", json={"path": "/etc/passwd"}).status_code == 422
    assert client.post("/v1/takes/nothing/show").status_code == 404  # no output folder either


@pytest.fixture
def file_manager(tmp_path, monkeypatch):
    """A program that notes how it was called; yield the file with its arguments."""
    noted = tmp_path / "noted.json"
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(noted)!r} + '.new', 'w').write(json.dumps(sys.argv[1:]))\n"
        f"os.rename({str(noted)!r} + '.new', {str(noted)!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return noted


@pytest.mark.skipif(sys.platform != "linux", reason="a stand-in for xdg-open")
def test_a_take_is_shown_in_the_file_manager(tmp_path, file_manager):
    folder = tmp_path / "my $(music); -rf"
    with running(tmp_path / "data", output=folder, users=USERS) as (client, _):
        take = client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}).json()["items"][0]["take"]
        for _ in range(3000):
            if client.get(f"/v1/takes/{take}").json()["file"]:
                break
            time.sleep(0.01)
        assert client.post(f"/v1/takes/{take}/show").status_code == 204
        for _ in range(3000):
            if file_manager.exists():
                break
            time.sleep(0.01)
        assert json.loads(file_manager.read_text()) == [str(folder)]
        anna = {"Authorization": f"Bearer {USERS['anna']}"}
        assert client.post(f"/v1/takes/{take}/show", headers=anna).status_code == 403
        remote = client.post(f"/v1/takes/{take}/show", headers={"X-Forwarded-For": "192.0.2.1"})
        assert remote.status_code == 403 and "machine of the server" in remote.json()["detail"]
        assert client.get("/v1/system", headers={"X-Forwarded-For": "192.0.2.1"}).json()["output"]["folder"] is None
        (folder / "rain-7.wav").unlink()
        assert client.post(f"/v1/takes/{take}/show").status_code == 404


def test_without_a_file_manager_the_answer_says_so(made, monkeypatch):
    client, folder, take = made
    monkeypatch.setenv("PATH", str(folder))
    answer = client.post(f"/v1/takes/{take}/show")
    assert (answer.status_code, answer.json()["type"]) == (501, "no-file-manager")


def test_each_system_has_its_command():
    path = Path("/music/rain-7.wav")
    assert tickets.show_command(path, "darwin") == ["open", "-R", "/music/rain-7.wav"]
    assert tickets.show_command(path, "win32") == ["explorer", "/select,/music/rain-7.wav"]
    assert tickets.show_command(path, "linux") == ["xdg-open", "/music"]
