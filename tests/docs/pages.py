"""The fenced blocks and inline commands of README.md and docs/*.md.

A block that the tests cannot run has a comment on the line above it: `<!-- not run: needs weights -->`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESEARCH = sorted((ROOT / "docs" / "research").glob("*.md"))
REASONS = {
    "an excerpt",  # of code that the page explains
    "installs",  # packages, or soundloom itself
    "needs a GPU",
    "needs a Mac",
    "needs weights",
    "takes hours",
    "takes minutes",
}
COMMANDS = {"", "sh", "console"}  # languages of blocks of shell commands
DATA = {"toml", "json", "text"}  # languages of blocks that show a file or output
MARK = re.compile(r"<!-- not run: (.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block; `reason` says why it is not run, or is None."""

    page: Path
    line: int  # of its first line in the page
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[Command]:
        """The commands of a shell block, in order."""
        if self.language not in COMMANDS:
            return []
        joined = self.text.replace("\\\n", " ")
        lines = (line.removeprefix("$ ").strip() for line in joined.splitlines())
        return [Command.of(line) for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True)
class Command:
    """A line of shell and its comment."""

    text: str
    comment: str

    @classmethod
    def of(cls, line: str) -> Command:
        text, _, comment = re.sub(r"\s+# ", "\0", line, count=1).partition("\0")
        return cls(text, comment)

    @property
    def outputs(self) -> list[str]:
        """The files that the comment names, which the command must write."""
        return re.findall(r"[\w-]+\.(?:wav|flac|npy)\b", self.comment)


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page. Raises ValueError for one that is not closed."""
    found: list[Block] = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    before = ""
    for number, line in lines:
        if line.lstrip().startswith("```"):
            inside = []
            for _, inner in lines:
                if inner.lstrip().startswith("```"):
                    break
                inside.append(inner)
            else:
                raise ValueError(f"{page}:{number}: a block that is not closed")
            mark = MARK.fullmatch(before.strip())
            found.append(Block(page, number + 1, line.strip("` "), "\n".join(inside), mark[1] if mark else None))
        before = line
    return found


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def code_spans(page: Path) -> list[str]:
    """Return the code spans outside fenced blocks."""
    return [" ".join(span.split()).replace("\\|", "|") for span in re.findall(r"`([^`]+)`", prose(page))]


def inline_commands(page: Path) -> list[str]:
    """Return the commands of `soundloom` in code spans."""
    return [span for span in code_spans(page) if re.match(r"soundloom [a-z]", span)]
