"""The types of the page name only what the server answers with, so that both sides move together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TYPES = Path(__file__).parents[2] / "src" / "soundloom" / "serving" / "studio" / "js" / "types.js"
SCHEMAS = {
    "Audio": "ArtifactOut",
    "Check": "CheckOut",
    "Item": "ItemOut",
    "Job": "JobOut",
    "Lora": "LoraOut",
    "Measure": "MeasurementOut",
    "Model": "ModelOut",
    "Prompts": "PromptsOut",
    "Reading": "ReadOut",
    "Recipe": "RecipeOut",
    "System": "SystemOut",
    "Take": "TakeOut",
    "Task": "TaskOut",
}


@pytest.fixture(scope="module")
def schemas(studio):
    return studio.client.get("/openapi.json").raise_for_status().json()["components"]["schemas"]


def fields(name: str) -> set[str]:
    """Return the names of the fields of a type; those within its fields are left out."""
    text = TYPES.read_text(encoding="utf-8")
    start = re.search(rf"@typedef {{({{(?:(?!@typedef)[\s\S])*?}})}} {name}\b", text)
    assert start, name
    depth, found, word = 0, set(), ""
    for sign in start[1].replace("\n *", " "):
        if sign in "{[(<":
            depth += 1
        elif sign in "}])>":
            depth -= 1
        elif depth == 1 and sign == ":":
            found.add(word.strip().rstrip("?"))
        word = "" if sign in ",{}:" else word + sign
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_types_name_what_the_server_answers(schemas, name):
    assert len(fields(name)) > 1
    assert fields(name) - set(schemas[SCHEMAS[name]]["properties"]) == set()
