"""Options of provenance: what a saved file states about its origin."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from soundloom.cli.options.flags import flag
from soundloom.settings import provenance_settings


@dataclass(frozen=True)
class ProvenanceOptions:
    """Provenance."""

    disclosure: bool | None = flag(
        "--disclosure",
        action=argparse.BooleanOptionalAction,
        help="state in tags of their own that a model made the audio (default: yes)",
    )

    @property
    def discloses(self) -> bool:
        return provenance_settings().disclosure if self.disclosure is None else self.disclosure
