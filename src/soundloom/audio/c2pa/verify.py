"""Verify the C2PA manifest of an audio file: who signed it, whether the signer is trusted, whether the file changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from soundloom.audio.c2pa.credentials import load_roots
from soundloom.audio.c2pa.library import BESIDE, EMBEDDING, context, load_library, manifest_path
from soundloom.audio.c2pa.manifest import IPTC_SOURCE_TYPE, METADATA
from soundloom.audio.formats.chunks import chunks
from soundloom.audio.formats.find_tag import frames
from soundloom.errors import AudioError, printable, shown
from soundloom.settings import provenance_settings
from soundloom.untrusted.limits import read_limited

UNTRUSTED = "signingCredential.untrusted"
CHANGED = ".mismatch"  # ends the codes of hashes that do not fit
REASONS = {"signingCredential.expired": "the certificate has expired, and there is no time stamp of the signature"}
MEDIA_TYPES = (b"application/c2pa", b"application/x-c2pa-manifest-store")
MAX_MANIFEST_BYTES = 2**28
RIFF_CHUNK = b"C2PA"


@dataclass(frozen=True)
class Ingredient:
    """A file that a clip was made from. `valid` is None where it had no manifest of its own."""

    title: str
    valid: bool | None


@dataclass(frozen=True)
class Verification:
    """What a manifest says, and whether to believe it.

    `valid`: the manifest is complete and fits the file. `tampered`: the file or the manifest was changed after signing.
    `trusted`: the certificate leads to a root in the user's list. `problems` are the codes of failed checks.
    """

    verdict: str
    valid: bool
    tampered: bool
    trusted: bool
    manifest: str  # "embedded", or the name of the file beside
    signer: str = ""
    organization: str = ""
    serial: str = ""
    algorithm: str = ""
    generator: str = ""
    actions: tuple[str, ...] = ()
    digital_source_type: str = ""
    ingredients: tuple[Ingredient, ...] = ()
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, without empty texts."""
        return {name: value for name, value in asdict(self).items() if value != ""}


def has_manifest(path: Path) -> bool:
    """Whether a file has a manifest, inside or beside it; needs no package."""
    beside = manifest_path(path)
    if beside is not None and beside.is_file():
        return True
    try:
        with path.open("rb") as file:
            return _is_inside(file)
    except OSError as error:
        raise AudioError(f"{printable(path)} cannot be opened: {error.strerror}") from error
    except ValueError:  # damaged tags
        return False


def _is_inside(file: BinaryIO) -> bool:
    starts = [chunk.body for chunk in chunks(file) if chunk.name.upper() == b"ID3 "]
    if any(chunk.name == RIFF_CHUNK for chunk in chunks(file)):
        return True
    return any(kind in data for start in [0, *starts] for data in frames(file, start, b"GEOB") for kind in MEDIA_TYPES)


def verify(path: str | Path, trust: str | Path | None = None) -> Verification | None:
    """Verify the manifest of a file; None if it has none. `trust` is a PEM file of trusted roots, as in the settings.

    Raises AudioError, and RequestError for unreadable roots and without c2pa-python.
    """
    path = Path(path)
    if not has_manifest(path):
        return None
    roots = trust if trust is not None else provenance_settings().trust
    c2pa = load_library()
    beside = manifest_path(path)
    inside = beside is None or not beside.is_file()
    where = "embedded" if inside or beside is None else printable(beside.name)
    settings = context(c2pa, roots=None if roots is None else load_roots(Path(roots)))
    try:
        data = None if inside or beside is None else read_limited(beside, MAX_MANIFEST_BYTES)
        media_type = (EMBEDDING | BESIDE).get(path.suffix.lower())
        with path.open("rb") as file, c2pa.Reader(media_type, file, data, settings) as reader:
            return _verification(json.loads(reader.json()), where)
    except (OSError, ValueError) as error:
        raise AudioError(f"the C2PA manifest of {printable(path)} cannot be read: {error}") from error
    except c2pa.C2paError as error:
        problem = shown(str(error))
        return Verification(f"The manifest is damaged: {problem}.", False, False, False, where, problems=(problem,))


def _verification(report: Mapping[str, Any], where: str) -> Verification:
    """Read the report of the library."""
    manifest = report["manifests"].get(report.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    failed = _failures(report.get("validation_results"))
    state = report.get("validation_state")
    steps = [step for assertion in manifest.get("assertions", ()) for step in _actions(assertion)]
    kinds = [step["digitalSourceType"] for step in steps if step.get("digitalSourceType")]
    kinds = kinds or [kind for assertion in manifest.get("assertions", ()) if (kind := _described(assertion))]
    generator: Mapping[str, Any] = next(iter(manifest.get("claim_generator_info") or []), {})
    signer = str(signature.get("common_name") or signature.get("issuer") or "an unnamed signer")
    valid, trusted = state in ("Valid", "Trusted"), state == "Trusted"
    tampered = any(code.endswith(CHANGED) for code in failed)
    ingredients = tuple(_ingredient(one) for one in manifest.get("ingredients", ()))
    return Verification(
        verdict=" ".join([_verdict(signer, valid, trusted, tampered, failed), *_doubts(ingredients)]),
        valid=valid,
        tampered=tampered,
        trusted=trusted,
        manifest=where,
        signer=signer,
        organization=str(signature.get("issuer") or ""),
        serial=str(signature.get("cert_serial_number") or ""),
        algorithm=str(signature.get("alg") or ""),
        generator=" ".join(str(generator[name]) for name in ("name", "version") if generator.get(name)),
        actions=tuple(str(step.get("action")) for step in steps),
        digital_source_type=str(kinds[-1]) if kinds else "",
        ingredients=ingredients,
        problems=tuple(failed),
    )


def _verdict(signer: str, valid: bool, trusted: bool, tampered: bool, failed: Iterable[str]) -> str:
    if tampered:
        return f"The file or its manifest was changed after {signer} signed it."
    if not valid:
        return f"The manifest signed by {signer} is not valid: {', '.join(REASONS.get(code, code) for code in failed)}."
    trust = "who is trusted" if trusted else "who is not in your list of trusted signers"
    return f"The file is unchanged since it was signed by {signer}, {trust}."


def _doubts(ingredients: Iterable[Ingredient]) -> list[str]:
    return [f"The manifest of its source {one.title} was not valid." for one in ingredients if one.valid is False]


def _actions(assertion: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not str(assertion.get("label", "")).startswith("c2pa.actions"):
        return []
    return [step for step in assertion.get("data", {}).get("actions", ()) if isinstance(step, dict)]


def _described(assertion: Mapping[str, Any]) -> str | None:
    """Return the digital source type that metadata states, where the actions do not."""
    data = assertion.get("data")
    is_metadata = str(assertion.get("label", "")).startswith(METADATA) and isinstance(data, dict)
    return data.get(IPTC_SOURCE_TYPE) if is_metadata and data else None


def _ingredient(found: Mapping[str, Any]) -> Ingredient:
    title = str(found.get("title") or "")
    if not found.get("active_manifest"):
        return Ingredient(title, None)
    return Ingredient(title, not _failures(found.get("validation_results")))


def _failures(results: Mapping[str, Any] | None) -> list[str]:
    """Return the codes of failed checks of a manifest, apart from trust, which is reported on its own."""
    failed = ((results or {}).get("activeManifest") or {}).get("failure") or []
    codes = [str(one.get("code")) for one in failed]
    return list(dict.fromkeys(code for code in codes if code != UNTRUSTED))
