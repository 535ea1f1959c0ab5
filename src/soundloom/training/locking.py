"""Keep two runs from using one folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soundloom.errors import TrainingError
from soundloom.temporary import remove_stale

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


@contextmanager
def exclusive(folder: Path, option: str) -> Iterator[None]:
    """Lock a folder against other runs; `option` names it on the command line.

    The operating system releases the lock with the process, however it ends; some systems have no such locks. Raises
    TrainingError where another run holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = f"wait for it or stop it; two runs need two {option} folders"
            raise TrainingError(f"another run is using {folder}", hint) from error
        except OSError as error:  # some network disks
            log.warning("%s cannot be locked (%s): make sure that no other run uses it", folder, error)
        remove_stale(folder)
        yield
