from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from soundloom.cli.options.flags import Extend, flag, numbers, parse, span, switch
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Shared:
    """Shared things."""

    quiet: bool = switch("-q", "--quiet")


@dataclass(frozen=True)
class Options(Shared):
    """Do something."""

    words: Sequence[str] = flag(default=(), nargs="*", metavar="WORD")
    seconds: Sequence[float] = flag("--seconds", "--duration", default=(), action=Extend, type=numbers(float))
    region: Sequence[tuple[float, float]] = flag("--region", default=(), action="append", type=span)


def test_fields_are_flags_with_defaults():
    assert parse(Options, [], "do") == Options()
    assert parse(Options, ["a", "--duration", "2", "b", "-q"], "do") == Options(
        words=["a", "b"], seconds=[2.0], quiet=True
    )


def test_commas_and_repeated_flags_both_give_lists():
    assert parse(Options, ["--seconds", "8,3", "--seconds", "5"], "do").seconds == [8, 3, 5]
    assert parse(Options, ["--region", "4,7", "--region", "8,9.5"], "do").region == [(4, 7), (8, 9.5)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seconds", "soon"], "--seconds/--duration: 'soon' is not a number"),
        (["--region", "4"], "'4' is not two numbers separated by a comma"),
        (["--secnds", "4"], "unrecognized arguments: --secnds"),
        (["--sec", "4"], "unrecognized arguments: --sec"),
    ],
)
def test_invalid_values_raise_request_errors(arguments, sentence):
    with pytest.raises(RequestError, match=f"{sentence}.*\n.*do --help"):
        parse(Options, arguments, "do")


def test_help_groups_flags_by_the_class_that_declares_them(capsys):
    assert parse(Options, ["a", "--help"], "do") is None
    text = capsys.readouterr().out
    assert text.startswith("usage: do [WORD]... [OPTIONS]\n\nDo something.")
    assert text.index("--duration") < text.index("Shared things:") < text.index("--quiet")


@dataclass(frozen=True)
class Stricter(Shared):
    """Do something else."""

    quiet: bool = switch("-q", "--quiet", help="print nothing")
    out: str = flag("-o", "--out", hidden=("--to",), metavar="FILE", required=True, help="output file")


def test_an_overridden_flag_stays_in_its_group(capsys):
    parse(Stricter, ["--help"], "do")
    assert "Shared things:\n  -q, --quiet" in capsys.readouterr().out


def test_required_flags_are_in_the_usage_and_accept_old_spellings(capsys):
    parse(Stricter, ["--help"], "do")
    assert capsys.readouterr().out.startswith("usage: do -o FILE [OPTIONS]")
    assert parse(Stricter, ["--to", "x"], "do").out == "x"
    with pytest.raises(RequestError, match="do requires -o FILE"):
        parse(Stricter, [], "do")
