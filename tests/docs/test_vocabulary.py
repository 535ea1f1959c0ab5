"""Code and guides use the field's terms: words that once stood for them here do not return."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

PRIVATE = (
    *("anew", "attend_twice", "ArrangedCodes", "ArrangedLinear", "Adversary", "beginnings", "carry_out", "companions"),
    *("compensate_errors", "condition_dropout", "coring", "deliver", "focus", "give_back", "Journal", "levelling"),
    *("lift", "memories", "observed", "Opinion", "remember", "settle", "twins", "unify", "wishes"),
)
BRITISH = r"(?:colour|optimis|quantis|normalis|initialis|behaviour|neighbour)\w*|licences?"
PATTERN = re.compile(rf"\b(?:{'|'.join(PRIVATE)}|{BRITISH})\b", re.IGNORECASE)
ALIAS = "--accept-licence"  # an old spelling of a flag, which keeps working
FILES = [
    *sorted((ROOT / "src").rglob("*.py")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_standard_terms(path):
    assert not PATTERN.findall(path.read_text(encoding="utf-8").replace(ALIAS, ""))
