"""Prompts as they are given: words, files of prompts, and words that were hardly meant as prompts of their own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from soundloom.errors import RequestError, shown
from soundloom.folders import expanded

FILE_MARK, STDIN, COMMENT = "@", "-", "#"
LONGEST_TO_COPY, WORDS_TO_COPY = 300, 12  # characters, words
_FILE_HINT = f"write {FILE_MARK * 2} for a prompt that begins with {FILE_MARK}"


def quoted(text: str) -> str:
    """Text as one word of a command line to copy, unless nobody would copy it."""
    import shlex

    text = text if len(text) <= LONGEST_TO_COPY else shown(text)
    return shlex.quote(text) if any(c in text for c in '"$`\\!\n') else f'"{text}"'


def expand_prompts(texts: Sequence[str]) -> list[str]:
    """Put the lines of a file in the place of `@FILE`, those of stdin in that of `-`; `@@` stands for an `@`.

    Empty lines and those that begin with # are left out. Raises RequestError for files that hold no prompts.
    """
    prompts: list[str] = []
    for place, text in enumerate(texts):
        if text == STDIN:
            if STDIN in texts[:place]:
                raise RequestError("stdin can be read once, and - was given twice")
            prompts += _lines(sys.stdin.read(), "stdin")
        elif text.startswith(FILE_MARK * 2):
            prompts.append(text[1:])
        elif text.startswith(FILE_MARK):
            prompts += _lines(_read(text[1:]), text[1:])
        else:
            prompts.append(text)
    return prompts


def _read(name: str) -> str:
    try:
        return expanded(name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{shown(name)} is not text in UTF-8, with one prompt a line", _FILE_HINT) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"no prompts can be read from {shown(name)}: {reason}", _FILE_HINT) from error


def _lines(text: str, name: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    prompts = [line for line in lines if line and not line.startswith(COMMENT)]
    if not prompts:
        raise RequestError(f"{shown(name)} holds no prompts", f"one a line; {COMMENT} begins a comment")
    return prompts


def join_loose_words(words: Sequence[str], command: str, are_told_apart: bool) -> list[str]:
    """Return prompts of positional words, which may be one prompt without its quotes: `kick drum loop`.

    Several single words are asked about in a terminal, and refused elsewhere with the command that was meant, unless
    they `are_told_apart` by lengths or seeds of their own. Raises RequestError.
    """
    loose = all(word.strip() and len(word.split()) == 1 and word[0] not in FILE_MARK + STDIN for word in words)
    if len(words) < 2 or not loose or are_told_apart:
        return list(words)
    whole = " ".join(words)
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{len(words)} words without quotes. One clip of {quoted(whole)}? [Y/n] ")
        sys.stderr.flush()
        return list(words) if sys.stdin.readline().strip().lower() in ("n", "no") else [whole]
    each = " ".join(f"-p {quoted(word) if not word.isalnum() else word}" for word in words[:WORDS_TO_COPY])
    each += " …" if len(words) > WORDS_TO_COPY else ""
    raise RequestError(
        f"{len(words)} words without quotes would be {len(words)} prompts, with a clip for each",
        f"{command} {quoted(whole)} makes one clip; {command} {each} makes one of each word",
    )
