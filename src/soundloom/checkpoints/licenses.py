"""Ask for consent to a model's license before its download, and store it in the configuration folder."""

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
    """Raise DownloadError with the license notice unless the licenses of `entry` are accepted.

    They can be accepted in an earlier call, by `accept`, by the variable SOUNDLOOM_ACCEPT_LICENSE (names of models or
    licenses, separated by commas), or by `confirm`, which takes the notice and returns the user's answer.
    """
    open_licenses = [license.id for license in entry.licenses if license.id not in _accepted()]
    if not open_licenses:
        return
    allowed = {name.strip().lower() for name in os.environ.get(VARIABLE, "").split(",")}
    by_variable = not allowed.isdisjoint((entry.name, *entry.aliases)) or allowed.issuperset(open_licenses)
    notice = license_notice(entry)
    if accept or by_variable or (confirm is not None and confirm(notice)):
        try:
            _store(open_licenses)
        except (WriteError, RequestError) as error:  # the consent itself is valid
            log.warning("the consent to the license of %s could not be stored: %s", entry.name, error)
        return
    raise DownloadError(
        f"the license of {entry.name} was not accepted, so nothing was downloaded.\n{notice}",
        f"accept it with --accept-license, or set {VARIABLE}={entry.name}",
    )


def _accepted() -> list[str]:
    try:
        accepted = json.loads((config_folder() / "licenses.json").read_text(encoding="utf-8"))["accepted"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # without a readable record, nothing is accepted
    return [str(license) for license in accepted]


def _store(licenses: list[str]) -> None:
    file = config_folder() / "licenses.json"
    make_folder(file.parent)
    with locked_folder(file.parent):  # against concurrent writes
        write_json(file, {"accepted": sorted({*_accepted(), *licenses})})
