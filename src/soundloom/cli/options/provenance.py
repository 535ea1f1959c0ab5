"""Options of provenance: what a saved file states about its origin."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.cli.options.flags import flag
from soundloom.errors import RequestError
from soundloom.folders import expanded
from soundloom.settings import provenance_settings

if TYPE_CHECKING:
    from soundloom.audio.c2pa.sign import C2paOptions


@dataclass(frozen=True)
class ProvenanceOptions:
    """Provenance."""

    disclosure: bool | None = flag(
        "--disclosure",
        action=argparse.BooleanOptionalAction,
        help="state in tags of their own that a model made the audio (default: yes)",
    )

    c2pa: bool | None = flag(
        "--c2pa",
        action=argparse.BooleanOptionalAction,
        help="sign the file with a C2PA manifest (default: no); --c2pa-cert names who signs, else the settings, else a "
        "self-signed certificate, which nobody trusts",
    )
    c2pa_cert: str | None = flag("--c2pa-cert", metavar="FILE", help="certificate chain in PEM, for --c2pa")
    c2pa_key: str | None = flag("--c2pa-key", metavar="FILE", help="private key in PEM, for --c2pa")

    def signing(self, source: Path | None = None, action: str | None = None) -> C2paOptions | None:
        """Return how to sign a file that was made from `source`, or None. Raises RequestError or ConfigError."""
        files = {"--c2pa-cert": self.c2pa_cert, "--c2pa-key": self.c2pa_key}
        if not (provenance_settings().c2pa if self.c2pa is None else self.c2pa):
            if given := [name for name, file in files.items() if file is not None]:
                raise RequestError(f"{given[0]} is for --c2pa, which is not given", "add --c2pa, or leave it out")
            return None
        from soundloom.audio.c2pa.sign import C2paOptions

        cert, key = (None if file is None else expanded(file) for file in files.values())
        return C2paOptions(cert, key, source, action)

    def signer(self) -> str | None:
        """Return the name of who signs, after a trial signature, or None. Raises RequestError or ConfigError."""
        options = self.signing()
        return None if options is None else options.credentials().signer

    @property
    def discloses(self) -> bool:
        return provenance_settings().disclosure if self.disclosure is None else self.disclosure
