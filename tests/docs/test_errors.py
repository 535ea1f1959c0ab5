"""docs/errors.md names every class of errors, and what a client makes of those of a server."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import soundloom
import soundloom.serving
from soundloom import errors
from soundloom.client.protocol import error_of
from soundloom.errors import SoundloomError
from soundloom.serving.problems import problem_type
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
GENERAL, SERVER = PAGE.partition("## Errors of a server")[::2]
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|(?: (?:`(\w+)`)? ?\|)?$", re.M)
ROWS = ROW.findall(SERVER)


def all_classes(kind: type[SoundloomError]) -> set[type[SoundloomError]]:
    return {kind}.union(*(all_classes(child) for child in kind.__subclasses__()))


def classes_of(package: str) -> set[type[SoundloomError]]:
    return {kind for kind in all_classes(SoundloomError) if f"{kind.__module__}.".startswith(f"{package}.")}


@pytest.fixture(scope="module")
def serving() -> dict[str, type[SoundloomError]]:
    """The classes of errors that the server defines, except those that its dialects use inside."""
    for module in pkgutil.walk_packages(soundloom.serving.__path__, "soundloom.serving."):
        importlib.import_module(module.name)
    found = classes_of("soundloom.serving") - classes_of("soundloom.serving.dialects")
    return {kind.__name__: kind for kind in found}


def test_every_general_class_has_a_row_with_its_exit_code():
    documented = {name: int(code) for name, code, _ in ROW.findall(GENERAL)}
    expected = {kind.__name__: kind.exit_code for kind in classes_of("soundloom.errors") - {SoundloomError}}
    assert documented == {name: code for name, code in expected.items() if name in documented}
    assert not {name for name in expected if f"`{name}`" not in GENERAL}


def test_every_class_of_the_server_has_a_row(serving):
    assert {name for name, _, _ in ROWS} == serving.keys()


def test_statuses_are_those_of_the_answers(serving):
    from soundloom.serving.http.problems import status_of

    for name, status, _ in ROWS:
        if status.isdecimal():
            assert status_of(serving[name]("x")) == int(status), name
        else:
            assert status == f"exit {serving[name].exit_code}", name


def test_clients_raise_what_the_table_says(serving):
    for name, _, raised in ROWS:
        if raised:
            found = error_of({"type": problem_type(serving[name]), "message": "m", "hint": "h"})
            assert type(found) is getattr(errors, raised), name
    assert type(error_of({"type": "worker-error", "message": "m"})) is soundloom.errors.ServerError
