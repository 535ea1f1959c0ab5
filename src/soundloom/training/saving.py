"""Write tensors as torch does, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from soundloom.atomic import atomic_file


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state that `torch.load` reads. Raises WriteError, also where the disk is full."""
    with atomic_file(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            # A failed write ends in a complaint of torch's zip writer; the system's own error is behind it.
            reason = error.__cause__ or error.__context__
            raise reason if isinstance(reason, OSError) else OSError(str(error).partition("\n")[0]) from error
