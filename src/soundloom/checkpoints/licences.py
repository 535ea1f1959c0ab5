"""Consent to the licence of a model's weights: asked for before a download, remembered in the user's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from soundloom.atomic import atomic_file
from soundloom.config.entries import Entry, licence_notice
from soundloom.errors import DownloadError
from soundloom.folders import config_folder

VARIABLE = "SOUNDLOOM_ACCEPT_LICENCE"


def require_consent(entry: Entry, accept: bool = False, confirm: Callable[[str], bool] | None = None) -> None:
    """Return when the licences of `entry` are accepted, else raise DownloadError with the notice.

    Accepted means: earlier, by `accept`, by the variable SOUNDLOOM_ACCEPT_LICENCE (names of models or licences,
    separated by commas), or by `confirm`, which is shown the notice and answers.
    """
    open_licences = [licence.id for licence in entry.licences if licence.id not in _remembered()]
    if not open_licences:
        return
    allowed = {name.strip().lower() for name in os.environ.get(VARIABLE, "").split(",")}
    by_variable = not allowed.isdisjoint((entry.name, *entry.aliases)) or allowed.issuperset(open_licences)
    notice = licence_notice(entry)
    if accept or by_variable or (confirm is not None and confirm(notice)):
        _remember(open_licences)
        return
    raise DownloadError(
        f"the licence of {entry.name} was not accepted, so nothing was downloaded.\n{notice}",
        f"agree with --accept-licence, or set {VARIABLE}={entry.name}",
    )


def _remembered() -> list[str]:
    try:
        accepted = json.loads((config_folder() / "licences.json").read_text(encoding="utf-8"))["accepted"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no record that can be read means that nothing was accepted
    return [str(licence) for licence in accepted]


def _remember(licences: list[str]) -> None:
    text = json.dumps({"accepted": sorted({*_remembered(), *licences})}, indent=2)
    with atomic_file(config_folder() / "licences.json") as file:
        file.write(text.encode())
