"""Read prompts from arguments, files, and stdin, and detect a prompt without quotes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from soundloom.errors import RequestError, shown
from soundloom.folders import expanded

FILE_MARK, STDIN, COMMENT = "@", "-", "#"
MAX_TO_COPY, WORDS_TO_COPY = 300, 12  # characters, words
_FILE_HINT = f"a prompt that starts with {FILE_MARK} is written with {FILE_MARK * 2}"


def quoted(text: str) -> str:
    """Quote text for a shell, shortened if it is long."""
    import shlex

    text = text if len(text) <= MAX_TO_COPY else shown(text)
    return shlex.quote(text) if any(c in text for c in '"$`\\!\n') else f'"{text}"'


def expand_prompts(texts: Sequence[str]) -> list[str]:
    """Replace `@FILE` with the lines of the file, `-` with the lines of stdin, and a leading `@@` with `@`.

    Empty lines and comments, which start with #, are skipped. Raises RequestError for files without prompts.
    """
    prompts: list[str] = []
    for place, text in enumerate(texts):
        if text == STDIN:
            if STDIN in texts[:place]:
                raise RequestError("- was given twice, but stdin can be read only once")
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
        raise RequestError(f"{shown(name)} is not UTF-8 text", _FILE_HINT) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"cannot read prompts from {shown(name)}: {reason}", _FILE_HINT) from error


def _lines(text: str, name: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    prompts = [line for line in lines if line and not line.startswith(COMMENT)]
    if not prompts:
        raise RequestError(f"{shown(name)} contains no prompts", f"write one per line; {COMMENT} starts a comment")
    return prompts


def join_loose_words(words: Sequence[str], command: str, are_separate: bool) -> list[str]:
    """Return the prompts of positional arguments, which may be one prompt without quotes: `kick drum loop`.

    For several single words, ask in a terminal, and raise RequestError elsewhere. With as many seeds or lengths
    (`are_separate`), each word is a prompt.
    """
    loose = all(word.strip() and len(word.split()) == 1 and word[0] not in FILE_MARK + STDIN for word in words)
    if len(words) < 2 or not loose or are_separate:
        return list(words)
    joined = " ".join(words)
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{len(words)} words without quotes. Generate one clip of {quoted(joined)}? [Y/n] ")
        sys.stderr.flush()
        return list(words) if sys.stdin.readline().strip().lower() in ("n", "no") else [joined]
    each = " ".join(f"-p {quoted(word) if not word.isalnum() else word}" for word in words[:WORDS_TO_COPY])
    each += " …" if len(words) > WORDS_TO_COPY else ""
    raise RequestError(
        f"{len(words)} words without quotes are {len(words)} prompts, each with its own clip",
        f"for one clip: {command} {quoted(joined)}; for {len(words)}: {command} {each}",
    )
