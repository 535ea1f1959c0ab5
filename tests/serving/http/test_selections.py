"""Many takes at once: search, ids, changes, exports and uploads that become takes."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from soundloom.serving.http.exports import unique_names
from tests.serving.http.conftest import running
from tests.serving.http.test_jobs import submit
from tests.serving.http.test_uploads import sound, upload


@pytest.fixture(scope="module")
def takes(client):
    body = {"count": 3, "request": {"prompt": "rain", "seconds": 1, "seed": 5}}
    done = submit(client, body, Prefer="wait=60").json()
    return [item["take"] for item in done["items"]]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data"), users={"kim": "a-token-of-kim"}) as (client, _):
        yield client


def found(client, **query):
    return client.get("/v1/takes/ids", params=query).raise_for_status().json()["ids"]


def change(client, **body):
    return client.patch("/v1/takes", json=body).raise_for_status().json()["changed"]


def test_searches_find_by_what_is_recorded(client, takes):
    assert found(client) == takes[::-1]
    assert found(client, seed=6) == [takes[1]]
    assert found(client, model="mini", min_seconds=0.9, max_seconds=1.1, order="oldest") == takes
    assert found(client, model="small-music") == found(client, min_seconds=2) == found(client, bpm=120) == []


def test_changes_tell_what_was_not_so_before(client, takes):
    assert change(client, takes=takes, favorite=True) == takes
    assert change(client, takes=takes, favorite=True) == []
    assert change(client, takes=takes[1:], favorite=False) == takes[1:]
    assert change(client, takes=[takes[2], takes[0], takes[2], "unknown"], add_tag="wet") == [takes[2], takes[0]]
    assert change(client, takes=takes, add_tag="wet") == [takes[1]]
    assert found(client, text="wet", order="oldest") == found(client, tag="Wet", order="oldest") == takes
    assert client.get("/v1/takes/tags").json() == {"tags": [{"tag": "wet", "takes": 3}]}
    assert change(client, takes=takes[:1], remove_tag="wet") == takes[:1]
    assert found(client, text="wet") == takes[:0:-1]
    assert change(client, takes=takes[:2], deleted=True) == takes[:2]
    assert found(client) == takes[2:]
    assert change(client, takes=takes, deleted=False) == takes[:2]


@pytest.mark.parametrize(
    "body", [{}, {"favorite": None}, {"favorite": True, "deleted": True}, {"add_tag": " "}, {"add_tag": "a\nb"}]
)
def test_a_change_is_one_change(client, takes, body):
    assert client.patch("/v1/takes", json={"takes": takes, **body}).status_code == 422


def test_an_export_holds_files_and_records(client, takes):
    made = client.post("/v1/exports", json={"takes": takes, "format": "flac"}).raise_for_status().json()
    assert (made["takes"], made["missing"]) == (3, 0)
    answer = client.get(made["url"])
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    records = json.loads(archive.read("takes.json"))
    assert [one["id"] for one in records] == takes
    assert all(archive.read(one["file"])[:4] == b"fLaC" for one in records)


def test_names_in_an_export_are_unique():
    assert unique_names(["a.wav", "A.wav", "takes.json", "a.wav"]) == [
        "a.wav",
        "A (2).wav",
        "takes (2).json",
        "a (3).wav",
    ]


def test_other_users_have_no_part_in_it(client, takes):
    kim = {"Authorization": "Bearer a-token-of-kim"}
    assert client.patch("/v1/takes", json={"takes": takes, "favorite": True}, headers=kim).json() == {"changed": []}
    assert client.get("/v1/takes/ids", headers=kim).json() == {"ids": []}
    assert client.get("/v1/takes/tags", headers=kim).json() == {"tags": []}
    assert client.post("/v1/exports", json={"takes": takes}, headers=kim).status_code == 404
    url = client.post("/v1/exports", json={"takes": takes}).json()["url"]
    assert client.get(url, headers=kim).status_code == 404


def test_an_upload_becomes_a_take(client):
    file = upload(client, sound(0.5), "own sound.wav").json()["id"]
    take = client.post("/v1/takes", json={"upload": file, "title": "Mine"}).json()
    assert (take["kind"], take["title"], take["audio"]["name"], take["record"]) == (
        "upload",
        "Mine",
        "own sound.wav",
        {},
    )
    assert found(client, kind="upload") == [take["id"]]
    assert client.post("/v1/takes", json={"upload": "unknown"}).status_code == 404
