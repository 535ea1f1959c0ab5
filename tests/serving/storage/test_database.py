"""The database of the server: one connection, transactions, migrations, and what it refuses."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from soundloom.serving.storage import migrations
from soundloom.serving.storage.database import DamagedError, Database, StorageError
from soundloom.serving.storage.events import add_event, events_after, last_event
from soundloom.serving.storage.rows import Artifact
from soundloom.serving.storage.takes import Search, add_take, list_takes

IMPORTS = "from pathlib import Path; from soundloom.serving.storage.database import Database"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "library.db"


def test_calls_run_in_order_in_one_thread(path):
    database = Database(path)
    threads = [database.run(lambda _, i=i: (i, threading.get_ident())).result() for i in range(20)]
    database.close()
    assert [number for number, _ in threads] == [*range(20)]
    assert len({thread for _, thread in threads}) == 1 and threads[0][1] != threading.get_ident()


def test_a_failing_call_leaves_nothing_behind(path):
    database = Database(path)

    def fail(connection):
        add_event(connection, "job", {})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.run(fail).result()
    assert database.run(last_event).result() == 0
    database.close()


def test_events_outlive_the_connection(path):
    for _ in range(2):
        database = Database(path)
        database.run(lambda connection: add_event(connection, "job", {"id": "a"})).result()
        database.close()
    database = Database(path)
    assert [event.id for event in database.run(lambda connection: events_after(connection, 0)).result()] == [1, 2]
    assert database.run(lambda connection: events_after(connection, 5)).result() is None
    database.close()


def test_a_second_process_is_refused(path):
    database = Database(path)
    code = f"{IMPORTS}; Database(Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    database.close()
    assert done.returncode == 1
    assert "another server uses this data folder" in done.stderr


def test_a_killed_process_loses_no_stored_event(path):
    code = (
        f"import os; {IMPORTS}\n"
        "from soundloom.serving.storage.events import add_event, events_after\n"
        f"database = Database(Path({str(path)!r}))\n"
        "database.run(lambda connection: add_event(connection, 'job', {})).result(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    database = Database(path)
    assert database.run(last_event).result() == 1
    database.close()


def test_a_damaged_database_is_refused_and_stays(path):
    Database(path).close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(DamagedError, match="is damaged"):
        Database(path)
    assert path.read_bytes() == bytes(data)
    path.write_text("no database, but a text that is long enough to be read as one" * 20)
    with pytest.raises(DamagedError, match="is damaged"):
        Database(path)


def test_a_newer_database_is_refused(path):
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(migrations.MIGRATIONS) + 1}")
    with pytest.raises(Exception, match="written by a newer version"):
        Database(path)


def test_older_databases_are_backed_up_and_migrated(path, monkeypatch):
    database = Database(path)
    database.run(lambda connection: add_event(connection, "job", {"old": True})).result()
    database.close()
    version = len(migrations.MIGRATIONS)
    second = "ALTER TABLE events ADD COLUMN place TEXT; CREATE TABLE more (a)"
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, second))
    database = Database(path)
    assert database.run(lambda connection: connection.execute("SELECT place FROM events").fetchall()).result()
    database.close()
    with closing(sqlite3.connect(path.with_name(f"library-version-{version}.db"))) as backup:
        assert backup.execute("SELECT data FROM events").fetchall() == [('{"old":true}',)]


def test_a_database_of_the_first_version_works(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        database = Database(path)
        insert = "INSERT INTO events (kind, data, made) VALUES ('job', '{}', 1)"
        database.run(lambda connection: connection.execute(insert)).result()
        database.close()
    database = Database(path)
    assert [event.owner for event in database.run(lambda connection: events_after(connection, 0)).result()] == [None]
    database.close()


def test_a_failed_migration_changes_nothing(path, monkeypatch):
    Database(path).close()
    version = len(migrations.MIGRATIONS)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, "CREATE TABLE more (a); no SQL"))
    with pytest.raises(StorageError, match="cannot be opened"):
        Database(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'more'").fetchall()


def test_a_database_from_an_sqlite_without_text_search_gets_it(path):
    database = Database(path)
    artifact = Artifact("a" * 64, 1, 44100, 2, 10, "FLOAT")
    record = {"request": {"prompt": "rain"}}
    database.run(lambda connection: add_take(connection, artifact, record, "generate", "me")).result()
    database.run(lambda connection: connection.execute("DROP TABLE takes_text")).result()
    database.close()
    database = Database(path)
    assert database.run(lambda connection: list_takes(connection, Search("rain"))).result()[1] == 1
    database.run(lambda connection: add_take(connection, artifact, record, "generate", "me")).result()
    database.close()
