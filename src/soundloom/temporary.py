"""Name temporary files and folders, and remove those that killed processes left behind.

A name is `.soundloom-<kind>-<pid>-<start>-<host and random digits>` plus the suffix of the final file. `start`
distinguishes a process from a later one with the same pid; `host` distinguishes machines and containers that share
a folder, since a process of another host cannot be checked.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

PREFIX = ".soundloom-"
Kind = Literal["file", "folder", "replaced"]  # "replaced" holds the old folder, under its name, during a replacement

_NAME = re.compile(r"\.soundloom-[a-z]+-(\d{1,10})-([0-9a-f]{8})-([0-9a-f]{6})[0-9a-f]{8}(\..*)?", re.DOTALL)
_ABANDONED_SECONDS = 7 * 24 * 3600  # age at which a file counts as stale when its process cannot be checked from here
_UNKNOWN = "0" * 8  # the system does not say when a process started
_cleaned: set[tuple[int, Path]] = set()


def temporary_name(kind: Kind, suffix: str = "") -> str:
    """Return a new name that identifies this process as the owner."""
    return f"{PREFIX}{kind}-{_owner(os.getpid())}{secrets.token_hex(4)}{suffix}"


def is_temporary(path: Path) -> bool:
    return path.name.startswith(PREFIX)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files of ended processes from a folder; each process does so once per folder.

    A folder that such a process had moved aside, but not yet replaced, gets its name back first.
    """
    key = os.getpid(), folder.absolute()
    if key not in _cleaned:
        _cleaned.add(key)
        for path in filter(_is_ours, _of_ended_processes(folder)):
            for original in _originals(path):
                with suppress(OSError):
                    original.rename(folder / original.name)
        for path in stale_in(folder):
            remove(path)


def stale_in(folder: Path) -> list[Path]:
    """Return the temporary files and folders that may be removed: ended process, no original inside."""
    return [path for path in _of_ended_processes(folder) if not _originals(path)]


def _of_ended_processes(folder: Path) -> list[Path]:
    """Return temporary files and folders of ended processes; none where the folder cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return []
    return [path for path in found if _has_ended(path)]


def _is_ours(path: Path) -> bool:
    """Whether this account owns `path`; in shared folders, other accounts must not make us rename files."""
    try:
        return os.name == "nt" or path.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _originals(path: Path) -> list[Path]:
    """Return the folders that were moved into `path` for a replacement that never happened."""
    if not path.name.startswith(f"{PREFIX}replaced-") or path.is_symlink():
        return []
    try:
        return [inner for inner in path.iterdir() if not os.path.lexists(path.with_name(inner.name))]
    except OSError:
        return []


def is_empty(folder: Path) -> bool:
    """Whether a folder is empty, apart from stale temporary files."""
    stale = set(stale_in(folder))
    return all(path in stale for path in folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, link or folder; ignore errors."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return


def _has_ended(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    if match[3] != _host() or sys.platform == "win32":
        try:
            return time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
        except OSError:
            return False
    return not _runs(int(match[1]), match[2])


def _runs(pid: int, start: str) -> bool:
    """Whether the process with this pid and start is still running."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's process
    return _start(pid) in (start, _UNKNOWN)  # the system may hide other users' processes


def _owner(pid: int) -> str:
    return f"{pid}-{_start(pid)}-{_host()}"


def _start(pid: int) -> str:
    """Return eight digits that differ between processes with the same pid; zeros where the start is unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return _UNKNOWN
    # The name may hold spaces and parentheses. After it, the first field is the state, the 20th the start in ticks.
    fields = stat.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else _digest(f"{boot}{fields[19]}")[:8]


@cache
def _host() -> str:
    """Return six digits that identify this machine and container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return _digest(" ".join(parts))[:6]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
