"""Jobs, takes, keys and files of the server's data folder."""

from __future__ import annotations

import os
import time

import pytest

from soundloom.serving.storage.database import Database
from soundloom.serving.storage.events import add_timings, answer_key, claim_key, timings
from soundloom.serving.storage.jobs import (
    add_job,
    get_job,
    list_jobs,
    move,
    put_back,
    requeue_interrupted,
    retry,
    set_item,
    set_state,
    waiting,
)
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.rows import Artifact
from soundloom.serving.storage.takes import (
    Search,
    add_take,
    change_take,
    delete_take,
    get_take,
    lineage,
    list_takes,
    mark_missing,
    purge,
    restore_take,
)


@pytest.fixture
def connection(tmp_path):
    """Return the connection, used in this thread."""
    database = Database(tmp_path / "library.db")
    database.close()
    from soundloom.serving.storage.database import _connect

    connection = _connect(tmp_path / "library.db")
    yield connection
    connection.close()


def make_job(connection, clips=2, **options):
    values = {"client": "a", "kind": "generate", "model": "mini", "body": {"count": clips}} | options
    return add_job(connection, requests=[{"prompt": "rain", "seed": seed} for seed in range(clips)], **values)


def make_take(connection, prompt="rain", **options):
    artifact = Artifact(f"{time.time_ns():064x}", 100, 44100, 2, 88_200, "FLOAT")
    values = {"kind": "generate", "client": "a"} | options
    return add_take(connection, artifact, {"request": {"prompt": prompt}}, **values)


# Jobs


def test_a_job_returns_as_it_was_stored(connection):
    job = make_job(connection)
    assert get_job(connection, job.id) == job
    assert [item.request["seed"] for item in job.items] == [0, 1]
    assert get_job(connection, "none") is None
    assert waiting(connection) == (1, 2)


def test_the_queue_can_be_reordered(connection):
    first, second, third = (make_job(connection).id for _ in range(3))
    move(connection, third, first)
    assert [job.id for job in list_jobs(connection)] == [third, first, second]
    move(connection, third, None)
    move(connection, first, third)
    assert [job.id for job in list_jobs(connection)] == [second, first, third]


def test_a_retry_makes_only_what_is_missing(connection):
    job, take = make_job(connection, 3), make_take(connection)
    set_state(connection, job.id, "running")
    set_item(connection, job.id, 0, "succeeded", take.id)
    set_item(connection, job.id, 1, "failed", error={"message": "silent"})
    set_state(connection, job.id, "failed", "a clip failed")
    found = get_job(connection, job.id)
    assert found.ended is not None and found.items[1].error == {"message": "silent"}
    retry(connection, job.id)
    found = get_job(connection, job.id)
    assert (found.state, found.ended, found.attempt) == ("queued", None, 0)
    assert [item.state for item in found.items] == ["succeeded", "queued", "queued"]


def test_interrupted_jobs_return_to_their_place(connection):
    first, second, third = (make_job(connection) for _ in range(3))
    set_state(connection, first.id, "running")
    set_item(connection, first.id, 0, "running")
    set_state(connection, second.id, "canceling")
    assert requeue_interrupted(connection) == [first.id, second.id]
    found = {job.id: job for job in list_jobs(connection)}
    assert (found[first.id].state, found[first.id].attempt) == ("queued", 1)
    assert {item.state for item in found[first.id].items} == {"queued"}
    assert found[second.id].state == "canceled"
    assert [job.id for job in list_jobs(connection, ("queued",))] == [first.id, third.id]
    put_back(connection, third.id)
    assert get_job(connection, third.id).attempt == 1
    set_state(connection, third.id, "running")
    requeue_interrupted(connection, is_crash=False)
    assert (get_job(connection, third.id).state, get_job(connection, third.id).attempt) == ("queued", 1)


def test_jobs_are_listed_by_client_and_state(connection):
    mine, other = make_job(connection), make_job(connection, client="b")
    assert [job.id for job in list_jobs(connection, client="b")] == [other.id]
    set_state(connection, mine.id, "succeeded")
    assert [job.id for job in list_jobs(connection, ("succeeded", "failed"))] == [mine.id]
    assert len(list_jobs(connection, limit=1)) == 1


# Takes


def test_takes_are_found_by_words_tags_and_marks(connection):
    rain, bells = make_take(connection), make_take(connection, "two bells, 120 BPM")
    change_take(connection, bells.id, title="Evening", note="for the église", favorite=True, tags=["church", "b side"])
    for text in ("bell", "BELLS two", "even", "église", "church", "side", '"', "%"):
        found, count = list_takes(connection, Search(text))
        expected = [] if text in ('"', "%") else [bells.id]
        assert ([take.id for take in found], count) == (expected, len(expected)), text
    assert [take.id for take in list_takes(connection, Search(tags=("b side",)))[0]] == [bells.id]
    assert [take.id for take in list_takes(connection, Search(favorite=False))[0]] == [rain.id]
    assert [take.id for take in list_takes(connection, Search(kinds=("vary",)))[0]] == []
    page, count = list_takes(connection, Search(limit=1, offset=1))
    assert ([take.id for take in page], count) == ([rain.id], 2)
    assert get_take(connection, bells.id).tags == ("b side", "church")


def test_deleted_takes_can_be_restored_until_they_are_purged(connection):
    take, other = make_take(connection), make_take(connection)
    delete_take(connection, take.id)
    assert [one.id for one in list_takes(connection, Search())[0]] == [other.id]
    assert [one.id for one in list_takes(connection, Search(deleted=True))[0]] == [take.id]
    restore_take(connection, take.id)
    delete_take(connection, other.id)
    assert purge(connection, time.time() - 60) == []
    assert purge(connection, time.time() + 60) == [other.artifact.hash]
    assert get_take(connection, other.id) is None and get_take(connection, take.id) is not None
    assert list_takes(connection, Search("rain", deleted=True))[1] == 0


def test_a_family_has_ancestors_and_their_descendants(connection):
    root = make_take(connection)
    child, sibling = (make_take(connection, parent=root.id) for _ in range(2))
    grandchild = make_take(connection, parent=child.id)
    make_take(connection)
    family = [root.id, child.id, sibling.id, grandchild.id]
    for take in family:
        assert [one.id for one in lineage(connection, take)] == family
    connection.execute("UPDATE takes SET parent = ? WHERE id = ?", (grandchild.id, root.id))
    assert len(lineage(connection, root.id)) == 4  # a cycle ends


def test_missing_files_are_marked(connection):
    take, other = make_take(connection), make_take(connection)
    assert mark_missing(connection, [other.artifact.hash]) == [take.artifact.hash]
    assert get_take(connection, take.id).artifact.missing
    assert mark_missing(connection, [take.artifact.hash, other.artifact.hash]) == []
    assert not get_take(connection, take.id).artifact.missing


# Keys and timings


def test_a_key_has_one_answer(connection):
    assert claim_key(connection, "a", "k", "1") == ("new", None)
    assert claim_key(connection, "a", "k", "1") == ("pending", None)
    assert claim_key(connection, "b", "k", "1") == ("new", None)
    answer_key(connection, "a", "k", {"id": 5})
    assert claim_key(connection, "a", "k", "1") == ("answered", {"id": 5})
    assert claim_key(connection, "a", "k", "2") == ("other", None)
    answer_key(connection, "b", "k", None)
    assert claim_key(connection, "b", "k", "2") == ("new", None)


def test_timings_are_means_that_follow_changes(connection):
    where = ("mini", "cpu", "fp32", 43, 1)
    for seconds in (1.0, 3.0):
        add_timings(connection, where, {"sample": seconds})
    assert timings(connection, "mini", "cpu", "fp32")[0]["seconds"] == 2.0
    for _ in range(50):
        add_timings(connection, where, {"sample": 9.0})
    assert timings(connection, "mini", "cpu", "fp32")[0]["seconds"] == pytest.approx(9, abs=0.1)


# Files


def test_equal_files_are_stored_once_and_read_only(tmp_path):
    store, inodes = ObjectStore(tmp_path / "objects"), set()
    for _ in range(2):
        with store.temporary() as path:
            path.write_bytes(b"audio")
            stored = store.add(path)
        inodes.add(store.path(stored.hash).stat().st_ino)
    assert [*store.files()] == [store.path(stored.hash)]
    assert len(inodes) == 1  # who reads the first is not disturbed
    assert store.path(stored.hash).read_bytes() == b"audio"
    assert not os.access(store.path(stored.hash), os.W_OK) or os.geteuid() == 0
    assert store.path(stored.hash).stat().st_mode & 0o222 == 0
    store.path(stored.hash).chmod(0o644)
    store.path(stored.hash).write_bytes(b"damaged")
    with store.temporary() as path:
        path.write_bytes(b"audio")
        store.add(path)
    assert store.path(stored.hash).read_bytes() == b"audio"


def test_a_failed_write_leaves_no_file(tmp_path):
    store = ObjectStore(tmp_path / "objects")
    with pytest.raises(ValueError, match="no"), store.temporary() as path:
        path.write_bytes(b"half")
        raise ValueError("no")
    assert not any(path.is_file() for path in store.folder.rglob("*"))


def test_old_files_without_a_row_are_set_aside(tmp_path):
    store, trash = ObjectStore(tmp_path / "objects"), tmp_path / "trash"
    hashes = []
    for content in (b"known", b"orphan", b"young orphan"):
        with store.temporary() as path:
            path.write_bytes(content)
            hashes.append(store.add(path).hash)
    for hash in hashes[:2]:
        os.utime(store.path(hash), (0, 0))
    moved = store.set_aside_orphans({hashes[0]}, trash)
    assert [path.name for path in moved] == [f"{hashes[1]}.wav"]
    assert {path.stem for path in store.files()} == {hashes[0], hashes[2]}
