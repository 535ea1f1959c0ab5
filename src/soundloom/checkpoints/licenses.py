"""Consent to the license of a model's weights: asked for before a download, remembered in the user's folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable

from soundloom.atomic import locked_folder, make_folder, write_json
from soundloom.config.entries import ModelEntry, license_notice
from soundloom.errors import DownloadError, RequestError, WriteError
from soundloom.folders import config_folder

log = logging.getLogger(__name__)

VARIABLE = "SOUNDLOOM_ACCEPT_LICENSE"


def require_consent(entry: ModelEntry, accept: bool = False, confirm: Callable[[str], bool] | None = None) -> None:
    """Return when the licenses of `entry` are accepted, else raise DownloadError with the notice.

    Accepted means: earlier, by `accept`, by the variable SOUNDLOOM_ACCEPT_LICENSE (names of models or licenses,
    separated by commas), or by `confirm`, which is shown the notice and answers.
    """
    open_licenses = [license.id for license in entry.licenses if license.id not in _remembered()]
    if not open_licenses:
        return
    allowed = {name.strip().lower() for name in os.environ.get(VARIABLE, "").split(",")}
    by_variable = not allowed.isdisjoint((entry.name, *entry.aliases)) or allowed.issuperset(open_licenses)
    notice = license_notice(entry)
    if accept or by_variable or (confirm is not None and confirm(notice)):
        try:
            _remember(open_licenses)
        except (WriteError, RequestError) as error:  # it was given all the same
            log.warning("the consent to the license of %s is not remembered: %s", entry.name, error)
        return
    raise DownloadError(
        f"the license of {entry.name} was not accepted, so nothing was downloaded.\n{notice}",
        f"agree with --accept-license, or set {VARIABLE}={entry.name}",
    )


def _remembered() -> list[str]:
    try:
        accepted = json.loads((config_folder() / "licenses.json").read_text(encoding="utf-8"))["accepted"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no record that can be read means that nothing was accepted
    return [str(license) for license in accepted]


def _remember(licenses: list[str]) -> None:
    place = config_folder() / "licenses.json"
    make_folder(place.parent)
    with locked_folder(place.parent):  # others may be noting theirs
        write_json(place, {"accepted": sorted({*_remembered(), *licenses})})
