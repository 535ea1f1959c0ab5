"""The table of --csv."""

import csv
import math

import pytest

from soundloom.cli.table import COLUMNS, ClipTable
from soundloom.errors import WriteError


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def table(tmp_path):
    return ClipTable(tmp_path / "new" / "made.csv", None)


TEXTS = [
    'a "quoted", comma',
    "two\nlines",
    "Größe 日本　語 🎹",
    "semi;colon\ttab",
    "",
    "a=b",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back_unchanged(table, text):
    table.add(0, {"prompt": text})
    assert read(table.path)[0]["prompt"] == text


FORMULAS = ["=1+1", "+1", "-2+3", "@SUM(A1)", "  =1", "\t=1", "\tx", "\n=1", "＝1", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_texts_in_a_spreadsheet(table, text):
    table.add(0, {"prompt": text, "file": text, "warnings": text})
    row = read(table.path)[0]
    assert row["prompt"] == row["file"] == row["warnings"] == f"'{text}"


def test_control_characters_are_escaped(table):
    table.add(0, {"prompt": "a\0b\rc\x1b[31m", "file": "x\udcff.wav"})
    assert read(table.path)[0]["prompt"] == "a\\x00b\\rc\\x1b[31m"
    assert read(table.path)[0]["file"] == "x\\xff.wav"


def test_numbers_are_plain_and_infinite_ones_empty(table):
    table.add(0, {"seed": 2**62, "lufs": -16.25, "peak_db": -math.inf, "tempo": None, "score": 0.0})
    row = read(table.path)[0]
    assert [row[name] for name in ("seed", "lufs", "peak_db", "tempo", "score")] == [str(2**62), "-16.25", "", "", "0"]


def test_rows_are_on_disk_as_they_come(table):
    for index in range(3):
        table.add(index, {"seed": index})
        assert [row["seed"] for row in read(table.path)] == [str(i) for i in range(index + 1)]
    table.update(1, {"status": "kept"})
    table.update(4, {"status": "failed"})
    table.finish()
    assert [(row["seed"], row["status"]) for row in read(table.path)] == [
        *(("0", ""), ("1", "kept"), ("2", ""), ("", "failed"))
    ]
    assert table.path.read_bytes().startswith(",".join(COLUMNS).encode() + b"\r\n")


def test_an_older_table_stays_until_there_is_a_row(tmp_path):
    path = tmp_path / "made.csv"
    path.write_text("mine")
    table = ClipTable(path, None)
    assert path.read_text() == "mine"
    table.add(0, {"seed": 3})
    assert [row["seed"] for row in read(path)] == ["3"]
    with pytest.raises(WriteError, match="exists already"):
        ClipTable(path, False)
