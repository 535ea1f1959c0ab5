"""Names of files and folders that are being written, and removal of those that a killed process left behind.

A name is `.soundloom-<kind>-<pid>-<start>-<host and random digits>`, with the ending of the file that it is to become.
`start` tells a process from a later one of the same number; `host` keeps machines (and containers) that share a
folder from judging each other's processes.
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

UNFINISHED = ".soundloom-"  # beginning of the names of files and folders that are being written
Kind = Literal["file", "folder", "replaced"]  # the last holds, under its name, a folder that another is to replace

_NAME = re.compile(r"\.soundloom-[a-z]+-(\d{1,10})-([0-9a-f]{8})-([0-9a-f]{6})[0-9a-f]{8}(\..*)?", re.DOTALL)
# What earlier versions called files and folders; the latter always with a digit here, lest it is somebody's own word.
_EARLIER_NAME = re.compile(r"\.soundloom-([0-9a-f]{12}(\..*)?|(?=[a-z_]*\d)[a-z0-9_]{8})", re.DOTALL)
_ABANDONED = 7 * 24 * 3600  # seconds after which a file whose process cannot be judged from here is taken for dead
_UNKNOWN = "0" * 8  # where the system does not tell when a process began
_swept: set[tuple[int, Path]] = set()


def unfinished_name(kind: Kind, suffix: str = "") -> str:
    """A new name that says that this process owns it."""
    return f"{UNFINISHED}{kind}-{_owner(os.getpid())}{secrets.token_hex(4)}{suffix}"


def is_unfinished(path: Path) -> bool:
    return path.name.startswith(UNFINISHED)


def remove_stale(folder: Path) -> None:
    """Remove from a folder, once in the life of this process, what processes that are gone were writing there.

    A folder that such a process had moved away, and not yet put another in its place, gets its name back first.
    """
    key = os.getpid(), folder.absolute()
    if key not in _swept:
        _swept.add(key)
        for path in filter(_is_ours, _dead_in(folder)):
            for lost in _lost(path):
                with suppress(OSError):
                    lost.rename(folder / lost.name)
        for path in stale_in(folder):
            remove(path)


def stale_in(folder: Path) -> list[Path]:
    """What may be removed: unfinished files and folders whose processes are gone, and that hold nothing lost."""
    return [path for path in _dead_in(folder) if not _lost(path)]


def _dead_in(folder: Path) -> list[Path]:
    """Unfinished files and folders whose processes are gone; none where the folder cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(UNFINISHED)]
    except OSError:
        return []
    return [path for path in found if _is_dead(path)]


def _is_ours(path: Path) -> bool:
    """Whether it belongs to this account: nobody else's moves make files appear, in a folder that all may write to."""
    try:
        return os.name == "nt" or path.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _lost(path: Path) -> list[Path]:
    """What was moved into an unfinished folder to be replaced, and was not."""
    if not path.name.startswith(f"{UNFINISHED}replaced-") or path.is_symlink():
        return []
    try:
        return [inner for inner in path.iterdir() if not os.path.lexists(path.with_name(inner.name))]
    except OSError:
        return []


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but leftovers that may be removed."""
    stale = set(stale_in(folder))
    return all(path in stale for path in folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, link or folder; what cannot be removed stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return


def _is_dead(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    if match is None and not _EARLIER_NAME.fullmatch(path.name):
        return False
    if match is None or match[3] != _host() or sys.platform == "win32":
        try:
            return time.time() - path.lstat().st_mtime > _ABANDONED
        except OSError:
            return False
    return not _lives(int(match[1]), match[2])


def _lives(pid: int, start: str) -> bool:
    """Whether the process that had this number at that time still runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    return _start(pid) in (start, _UNKNOWN)  # processes of others may be hidden


def _owner(pid: int) -> str:
    return f"{pid}-{_start(pid)}-{_host()}"


def _start(pid: int) -> str:
    """Eight digits that differ between processes of the same number; zeros where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return _UNKNOWN
    # Behind the name, which may itself hold spaces and parentheses: the state first, the start in ticks as the 20th.
    fields = stat.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else _digest(f"{boot}{fields[19]}")[:8]


@cache
def _host() -> str:
    """Six digits for the machine and, within it, the container, whose processes have numbers of their own."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return _digest(" ".join(parts))[:6]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
