"""Further users of a server, from a file of names and tokens."""

from __future__ import annotations

import re
from pathlib import Path

from soundloom.errors import RequestError, printable

MIN_TOKEN = 16  # characters
NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
RESERVED = ("browser", "gary", "token")  # clients of whoever runs the server


def read_users(path: Path) -> dict[str, str]:
    """Return the tokens of users by name. Lines of the file are `NAME TOKEN`, empty, or begin with #.

    Raises RequestError.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{printable(path)} cannot be read: {error}", "give a text file with a line for each user"
        ) from error
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if reason := _fault(words, users):
            raise RequestError(
                f"line {number} of {printable(path)} {reason}", "write NAME TOKEN, such as: anna 2f8e0c…"
            )
        users[words[0]] = words[1]
    return users


def _fault(words: list[str], users: dict[str, str]) -> str:
    """Return what is wrong with a line, without its token."""
    if len(words) != 2:
        return f"has {len(words)} words instead of a name and a token"
    name, token = words
    if not NAME.fullmatch(name) or name.lower() in RESERVED:
        return "has a name that cannot be used: letters, digits and ._- begin with a letter; not " + ", ".join(RESERVED)
    if len(token) < MIN_TOKEN:
        return f"has a token with fewer than {MIN_TOKEN} characters"
    if name in users or token in users.values():
        return "has a name or token that was there before"
    return ""
