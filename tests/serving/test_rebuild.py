"""A library whose database is damaged, gone or old is rebuilt from the records in its files."""

from __future__ import annotations

import os
import shutil
import time

import httpx
import numpy as np
import pytest
import soundfile

from soundloom.serving.server import DATABASE, OBJECTS, TRASH
from soundloom.serving.storage.database import DamagedError, Database
from soundloom.serving.storage.events import events_after, last_event
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.rebuild import open_library, set_aside
from soundloom.serving.storage.takes import Search, list_takes
from tests.serving.http.conftest import running
from tests.serving.test_output import generate, wait_for
from tests.serving.test_serve import log_of, serving, token

KEPT = ("prompt", "kind", "audio", "record")


def takes_of(client):
    """Return the takes of a server by the hashes of their files."""
    return {take["audio"]["id"]: take for take in client.get("/v1/takes").json()["takes"]}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def damage(path):
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    path.write_bytes(data)


def edit(client, take, kind="inpaint", **request):
    request = {"prompt": "wind", "regions": [[0.1, 0.2]], "seed": 1, "steps": 2} | request
    return generate(client, kind=kind, source=take, request=request)[0]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A data folder with two takes, an edit of an edit and an upload, and what the server told about the takes."""
    folder, music = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("data") / "music"
    sound = folder / "sound.wav"
    soundfile.write(sound, np.sin(np.arange(22_050) * 0.05) * 0.3, 44_100)
    with running(folder, output=music) as (client, _):
        first = generate(client, count=2)[0]
        edit(client, edit(client, first), prompt="bells")
        with sound.open("rb") as file:
            upload = client.post("/v1/uploads", files={"file": file}).json()
        generate(client, kind="vary", source=upload["id"], request={"noise": 0.5, "seconds": None})[0]
        client.patch(f"/v1/takes/{first}", json={"title": "Evening", "tags": ["wet"], "favorite": True})
        for _ in range(3000):
            found = takes_of(client)
            if {take["file"] for take in found.values()} == set(names_in(music)) and (music / "Evening.wav").exists():
                break
            time.sleep(0.01)
    return folder, music, found


@pytest.fixture
def copy(library, tmp_path):
    """A copy of that folder, with links between objects and output folder as they were."""
    folder, music, found = library
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "music").mkdir()
    for name in names_in(music):
        (hash,) = [hash for hash, take in found.items() if take["file"] == name]
        (tmp_path / "music" / name).hardlink_to(ObjectStore(tmp_path / "data" / OBJECTS).path(hash))
    return tmp_path / "data", tmp_path / "music", found


def parents(found):
    """Return the file that each file was made from."""
    hashes = {take["id"]: hash for hash, take in found.items()}
    return {hash: hashes.get(take["parent"]) for hash, take in found.items()}


@pytest.mark.parametrize("loss", ["damaged", "no database", "gone", "empty"])
def test_the_library_comes_back_with_families_and_names(copy, loss):
    folder, music, before = copy
    path, names = folder / DATABASE, names_in(music)
    if loss == "damaged":
        damage(path)
    elif loss == "no database":
        path.write_text("this is no database but a text " * 200)
    else:
        for part in folder.glob(f"{DATABASE}*"):
            part.unlink()
        if loss == "empty":
            path.touch()
    with running(folder, output=music) as (client, server):
        after = takes_of(client)
        assert after.keys() == before.keys() and len(after) == 5
        for hash, take in after.items():
            assert {name: take[name] for name in KEPT} == {name: before[hash][name] for name in KEPT}
            assert abs(take["made"] - before[hash]["made"]) < 5
        assert parents(after) == parents(before) and sum(map(bool, parents(after).values())) == 2
        (titled,) = [hash for hash, take in before.items() if take["title"]]
        assert (after[titled]["title"], after[titled]["tags"], after[titled]["favorite"]) == ("Evening", [], False)
        assert {take["title"] for hash, take in after.items() if hash != titled} == {""}
        notice = client.get("/v1/system").json()["notice"]
        assert "5 clips were added" in notice and "titles, tags" in notice and str(folder) not in notice
        assert ("was missing" if loss in ("gone", "empty") else "damaged and is now library-damaged-") in notice
        assert server.database.run(lambda connection: events_after(connection, 5)).result() is None
        edit(client, after[titled]["id"])
        wait_for(music, *names, "wind-1 (2).wav")
    assert len([*folder.glob("library-damaged-*.db")]) == (loss not in ("gone", "empty"))


def test_an_old_database_gets_the_clips_that_it_does_not_know(tmp_path):
    with running(tmp_path) as (client, _):
        first = generate(client)[0]
        client.patch(f"/v1/takes/{first}", json={"title": "Evening"})
    shutil.copy(tmp_path / DATABASE, tmp_path / "backup")
    with running(tmp_path) as (client, _):
        second = edit(client, first)
    for path in ObjectStore(tmp_path / OBJECTS).files():
        os.utime(path, (1, 1))  # long enough ago to be set aside
    shutil.copy(tmp_path / "backup", tmp_path / DATABASE)
    with running(tmp_path) as (client, _):
        assert client.get(f"/v1/takes/{second}").status_code == 404
        for _ in range(3000):
            if (tmp_path / TRASH).is_dir():
                break
            time.sleep(0.01)
    with running(tmp_path, rebuild=True) as (client, _):
        found = client.get("/v1/takes").json()["takes"]
        assert sorted((take["kind"], take["title"], take["parent"]) for take in found) == [
            ("generate", "Evening", None),
            ("inpaint", "", first),
        ]
        assert client.get("/v1/system").json()["notice"].startswith("1 clip was added")
        assert all(client.get(f"/v1/takes/{take['id']}/audio").status_code == 200 for take in found)


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    store, trash = ObjectStore(tmp_path / OBJECTS), tmp_path / TRASH
    with store.temporary() as path:
        path.write_bytes(b"RIFF, but no audio")
        store.add(path)
    with store.temporary() as path:
        soundfile.write(path, np.zeros(100), 44_100)
        store.add(path)
    opened = open_library(tmp_path, DATABASE, store, trash)
    assert opened.database.run(lambda connection: list_takes(connection, Search())).result()[1] == 0
    hashes = opened.database.run(lambda c: c.execute("SELECT count(*) FROM artifacts").fetchone()[0]).result()
    assert hashes == 1
    opened.database.close()


def test_a_first_start_says_nothing_and_counts_from_one(tmp_path):
    opened = open_library(tmp_path, DATABASE, ObjectStore(tmp_path / OBJECTS), tmp_path / TRASH)
    assert opened.notice == "" and opened.database.run(last_event).result() == 0
    opened.database.close()


def test_databases_that_are_set_aside_never_replace_each_other(tmp_path):
    path, names = tmp_path / DATABASE, set()
    for number in range(3):
        path.write_text(str(number))
        (tmp_path / f"{DATABASE}-wal").write_text(f"log {number}")
        new = set_aside(path)
        names.add(new)
        assert (new.read_text(), new.with_name(f"{new.name}-wal").read_text()) == (str(number), f"log {number}")
    assert len(names) == 3


def test_a_locked_database_is_not_set_aside(tmp_path):
    store = ObjectStore(tmp_path / OBJECTS)
    opened = open_library(tmp_path, DATABASE, store, tmp_path / TRASH)
    with pytest.raises(Exception, match="another server"):
        open_library(tmp_path, DATABASE, store, tmp_path / TRASH, rebuild=True)
    opened.database.close()
    assert not [*tmp_path.glob("library-damaged*")]
    with pytest.raises(DamagedError):
        damaged = tmp_path / "other.db"
        damaged.write_text("this is no database but a text " * 200)
        Database(damaged)


def test_the_command_says_what_was_lost(tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    (library / DATABASE).write_text("this is no database but a text " * 200)
    with serving(tmp_path, SOUNDLOOM_TOKEN="a token of the tests"):
        text = log_of(tmp_path).read_text()
    assert "the database of the library was damaged and is now library-damaged-" in text and "are lost" in text
    with serving(tmp_path, "--rebuild") as (_, url, _):
        assert httpx.get(f"{url}/v1/system", headers=token(tmp_path)).status_code == 200
