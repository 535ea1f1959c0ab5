"""The output folder: names, links and copies, and what users do with the files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.errors import RequestError
from soundloom.folders import output_folder
from soundloom.serving.output import OutputFiles, require_pattern, stem_of
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.rows import Artifact, Take
from tests.serving.http.conftest import running

BODY = {"request": {"prompt": "rain", "seconds": 0.3, "seed": 7, "steps": 2}}
ARTIFACT = Artifact("0" * 64, 1, 44100, 2, 10, "FLOAT")


def take_of(title="", **record):
    return Take("id", ARTIFACT, record, "", "vary", "me", 0.0, title=title)


def generate(client, **change):
    body = BODY | {"request": BODY["request"] | change.pop("request", {})} | change
    done = client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
    assert done["state"] == "succeeded", done
    return [item["take"] for item in done["items"]]


def wait_for(folder, *names):
    """Wait until a folder has these files, and no others."""
    for _ in range(3000):
        found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        if found == sorted(names):
            return
        time.sleep(0.01)
    raise AssertionError(f"found {found}, expected {names}")


@pytest.mark.parametrize(
    ("take", "pattern", "name"),
    [
        (take_of(seed=7, request={"prompt": "Rain, 120 BPM"}), "{prompt}-{seed}", "rain-120-bpm-7"),
        (take_of(seed=7, request={"prompt": "(rain:1.3), bells"}), "{prompt}", "rain-bells"),
        (take_of(seed=7, model="mini", request={"prompt": "rain, 90 BPM"}), "{model}-{bpm}-{n:02}", "mini-90-00"),
        (take_of(seed=7, request={"prompt": "rain"}), "{prompt}-{bpm}", "rain"),
        (take_of(request={"prompt": "rain"}), "{prompt}-{seed}", "rain"),
        (take_of(seed=7), "{prompt}-{seed}", "vary-7"),
        (take_of("Evening bells"), "{prompt}", "Evening bells"),
        (take_of("rain/../../wind"), "{prompt}", "rain-..-..-wind"),
        (take_of("CON"), "{prompt}", "_CON"),
        (take_of(".hidden\0\n\u202e."), "{prompt}", "_.hidden"),
        (take_of("雨" * 200), "{prompt}", "雨" * 75),
        (take_of("..."), "{prompt}", "_"),
    ],
)
def test_names_say_what_a_take_is_and_are_harmless(take, pattern, name):
    assert stem_of(take, pattern) == name


@pytest.mark.parametrize("pattern", ["", "{", "{nothing}", "a/b", "..", "\0", "{prompt}/{seed}"])
def test_patterns_that_name_no_file_are_refused(pattern):
    with pytest.raises(RequestError):
        require_pattern(pattern)


def test_takes_appear_under_names_follow_their_titles_and_leave(tmp_path):
    folder = tmp_path / "music"
    with running(tmp_path / "data", output=folder) as (client, server):
        first, second = generate(client)[0], generate(client, request={"steps": 3})[0]
        wait_for(folder, "rain-7.wav", "rain-7 (2).wav")
        found = client.get(f"/v1/takes/{first}").json()
        assert found["file"] == "rain-7.wav"
        assert (folder / "rain-7.wav").samefile(server.store.path(found["audio"]["id"]))
        assert client.get("/v1/system").json()["output"] == {"folder": str(folder), "works": True}
        client.patch(f"/v1/takes/{first}", json={"title": "Evening"})
        wait_for(folder, "Evening.wav", "rain-7 (2).wav")
        client.patch(f"/v1/takes/{second}", json={"title": "evening", "favorite": True})
        wait_for(folder, "Evening.wav", "evening (2).wav")
        client.patch(f"/v1/takes/{first}", json={"title": ""})
        wait_for(folder, "rain-7.wav", "evening (2).wav")
        client.delete(f"/v1/takes/{first}")
        wait_for(folder, "evening (2).wav")
        client.post(f"/v1/takes/{first}/restore")
        wait_for(folder, "evening (2).wav", "rain-7.wav")


def test_files_of_users_are_never_touched(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "rain-7.wav").write_text("mine")
    with running(tmp_path / "data", output=folder) as (client, _):
        (take,) = generate(client)
        wait_for(folder, "rain-7.wav", "rain-7 (2).wav")
        (folder / "rain-7 (2).wav").unlink()
        (folder / "rain-7 (2).wav").write_text("edited")
        client.patch(f"/v1/takes/{take}", json={"title": "Evening"})
        client.delete(f"/v1/takes/{take}")
        (other,) = generate(client, request={"prompt": "wind"})
        wait_for(folder, "rain-7.wav", "rain-7 (2).wav", "wind-7.wav")
        (folder / "wind-7.wav").unlink()  # and what is deleted there stays away
        client.patch(f"/v1/takes/{other}", json={"title": "Storm"})
        generate(client, request={"prompt": "bells"})
        wait_for(folder, "rain-7.wav", "rain-7 (2).wav", "bells-7.wav")
    assert (folder / "rain-7.wav").read_text() == "mine"
    assert (folder / "rain-7 (2).wav").read_text() == "edited"


def test_a_folder_that_cannot_be_written_fails_no_job_and_is_filled_later(tmp_path):
    folder = tmp_path / "music"
    folder.write_text("a file is in the way")
    with running(tmp_path / "data", output=folder) as (client, _):
        (take,) = generate(client)
        for _ in range(3000):
            if not client.get("/v1/system").json()["output"]["works"]:
                break
            time.sleep(0.01)
        else:
            raise AssertionError("the problem is not reported")
        assert client.get(f"/v1/takes/{take}").json()["file"] is None
        folder.unlink()
        generate(client, request={"prompt": "wind"})
        wait_for(folder, "wind-7.wav")
        assert client.get("/v1/system").json()["output"]["works"]
    with running(tmp_path / "data", output=folder):
        wait_for(folder, "wind-7.wav", "rain-7.wav")


def test_copies_are_made_where_links_do_not_work(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    store = ObjectStore(tmp_path / "objects")
    with store.temporary() as path:
        soundfile.write(path, np.zeros(100), 44_100)
        hash = store.add(path).hash
    files = OutputFiles(tmp_path / "music", store)
    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    assert files.place("rain.wav", hash) and files.place("rain.wav", hash)
    copy = tmp_path / "music" / "rain.wav"
    assert not copy.samefile(store.path(hash)) and files.holds("rain.wav", hash)
    assert copy.stat().st_mode & 0o200
    assert sorted(path.name for path in copy.parent.iterdir()) == ["rain.wav"]
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    assert not files.holds("rain.wav", hash) and not files.place("rain.wav", hash)


def test_the_folder_is_in_the_music_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDLOOM_OUTPUT")
    monkeypatch.delenv("XDG_MUSIC_DIR", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert output_folder() == tmp_path / "Music" / "soundloom"
    (tmp_path / ".config").mkdir()
    for written, found in (("$HOME/Musik", "Musik"), (f"{tmp_path}/Klang", "Klang"), ("$HOME", "Music")):
        (tmp_path / ".config" / "user-dirs.dirs").write_text(f'# places\nXDG_MUSIC_DIR="{written}"\n')
        assert output_folder() == tmp_path / found / "soundloom"
    monkeypatch.setenv("XDG_MUSIC_DIR", "/srv/music")
    assert output_folder() == Path("/srv/music/soundloom")
    monkeypatch.setenv("SOUNDLOOM_OUTPUT", str(tmp_path / "mine"))
    assert output_folder() == tmp_path / "mine"
