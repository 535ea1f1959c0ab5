"""Import the package c2pa-python, and set it up to work offline."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from soundloom.errors import RequestError

EXTRA = "pip install 'soundloom[provenance]'"
# Nothing is fetched: no manifests by reference, no revocation lists, no trust lists.
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
EMBEDDING = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg"}  # media types of files with manifests
BESIDE = {".ogg": "audio/ogg"}  # of files whose manifest is a file beside them
MANIFEST_SUFFIX = ".c2pa"


def manifest_path(path: Path) -> Path | None:
    """Return the file beside `path` that holds its manifest, or None if the manifest is inside `path`."""
    return path.with_suffix(MANIFEST_SUFFIX) if path.suffix.lower() in BESIDE else None


def load_library() -> ModuleType:
    """Import c2pa-python. Raises RequestError where it or its native library is missing."""
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:
        raise RequestError("C2PA manifests need the package c2pa-python, which is not installed", EXTRA) from error
    return c2pa


def context(c2pa: ModuleType, *, signer: Any = None, roots: str | None = None) -> Any:
    """Return an offline context that signs with `signer` and trusts certificates under `roots`, in PEM."""
    trust = {} if roots is None else {"trust": {"user_anchors": roots}}
    return c2pa.Context.from_dict(OFFLINE | trust, signer=signer)
