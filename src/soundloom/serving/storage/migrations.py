"""The tables of the database, and how older databases become newer ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from soundloom.errors import SoundloomError, printable

FIRST = """
CREATE TABLE artifacts (          -- audio files of the object folder
    hash TEXT PRIMARY KEY,        -- sha256 of the file
    bytes INTEGER NOT NULL,
    rate INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    subtype TEXT NOT NULL,
    name TEXT NOT NULL,           -- of an upload, for display
    made REAL NOT NULL,
    missing INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    body TEXT NOT NULL,           -- JSON: what was asked
    class TEXT NOT NULL,          -- interactive or batch
    state TEXT NOT NULL,
    reason TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    position REAL NOT NULL,       -- order in the queue
    created REAL NOT NULL,
    started REAL,
    ended REAL
);
CREATE INDEX jobs_by_state ON jobs (state, position);
CREATE TABLE takes (
    id TEXT PRIMARY KEY,
    artifact TEXT NOT NULL REFERENCES artifacts (hash),
    record TEXT NOT NULL,         -- JSON, as in the file
    prompt TEXT NOT NULL,
    parent TEXT,
    kind TEXT NOT NULL,
    client TEXT NOT NULL,
    title TEXT NOT NULL DEFAULT '',
    favorite INTEGER NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    made REAL NOT NULL,
    deleted REAL
);
CREATE INDEX takes_by_time ON takes (deleted, made);
CREATE INDEX takes_by_parent ON takes (parent);
CREATE INDEX takes_by_artifact ON takes (artifact);
CREATE TABLE items (              -- clips of jobs
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    request TEXT NOT NULL,        -- JSON
    state TEXT NOT NULL,
    take TEXT REFERENCES takes (id),
    error TEXT,                   -- JSON
    PRIMARY KEY (job, number)
);
CREATE TABLE tags (
    take TEXT NOT NULL REFERENCES takes (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (take, tag)
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,           -- JSON
    made REAL NOT NULL
);
CREATE TABLE idempotency (
    client TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,           -- sha256
    answer TEXT,                  -- JSON, NULL while the first request is being accepted
    made REAL NOT NULL,
    PRIMARY KEY (client, key)
);
CREATE TABLE sessions (           -- cookies and one-time links
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    expires REAL NOT NULL
);
CREATE TABLE timings (            -- mean seconds of a stage, for estimates
    model TEXT NOT NULL,
    device TEXT NOT NULL,
    precision TEXT NOT NULL,
    frames INTEGER NOT NULL,
    clips INTEGER NOT NULL,
    stage TEXT NOT NULL,
    seconds REAL NOT NULL,
    runs INTEGER NOT NULL,
    PRIMARY KEY (model, device, precision, frames, clips, stage)
);
"""
# An event without an owner is for all; a session without a user is one of whoever runs the server.
USERS = """
ALTER TABLE events ADD COLUMN owner TEXT;
ALTER TABLE sessions ADD COLUMN user TEXT
"""
TEXT_SEARCH = "CREATE VIRTUAL TABLE takes_text USING fts5 (take UNINDEXED, title, prompt, tags, note)"
OUTPUT_NAMES = """
ALTER TABLE takes ADD COLUMN file TEXT;  -- name in the output folder, NULL if there is none
CREATE INDEX takes_by_file ON takes (file COLLATE NOCASE);
"""
META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
MIGRATIONS = (
    FIRST,
    USERS,
    OUTPUT_NAMES,
    META,
)  # each changes the version before it; never change one that was released


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database up to date, with a backup of older ones beside it. Raises SoundloomError for a newer one."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise SoundloomError(
            f"{printable(path)} was written by a newer version of soundloom",
            "install that version, or choose another folder with SOUNDLOOM_DATA",
        )
    if 0 < version < len(MIGRATIONS):
        _back_up(connection, path.with_name(f"{path.stem}-version-{version}.db"))
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
    if version < len(MIGRATIONS):
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    _add_text_search(connection)


def _add_text_search(connection: sqlite3.Connection) -> None:
    """Add the index of texts where SQLite has FTS5; a database may come from one that has not."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'takes_text'").fetchone()
    if known or not has_text_search(connection):
        return
    connection.execute(TEXT_SEARCH)
    tags = "(SELECT group_concat(tag, ' ') FROM tags WHERE take = takes.id)"
    connection.execute(f"INSERT INTO takes_text SELECT id, title, prompt, {tags}, note FROM takes")


def has_text_search(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite has FTS5."""
    options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    return "ENABLE_FTS5" in options


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("COMMIT")  # VACUUM cannot run inside a transaction
    path.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(path),))
    connection.execute("BEGIN IMMEDIATE")
