"""Load the certificate and key that sign manifests, or make a certificate that nobody trusts."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from soundloom.atomic import atomic_path, make_folder, write_errors
from soundloom.audio.c2pa.library import EXTRA
from soundloom.audio.c2pa.self_signed import make_self_signed
from soundloom.errors import RequestError, printable
from soundloom.folders import config_folder
from soundloom.settings import provenance_settings
from soundloom.untrusted.limits import read_limited

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

log = logging.getLogger(__name__)

MAX_PEM_BYTES = 2**20
PEM_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
KINDS_OF_KEYS = "use an elliptic curve key (P-256, P-384 or P-521), Ed25519, or RSA"
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}  # algorithms of C2PA


@dataclass(frozen=True)
class Credentials:
    """A certificate chain, the signing certificate first, and its private key, in PEM.

    `signer` is the name in the certificate, `source` the file of the chain.
    """

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    signer: str
    source: str


def load_credentials(cert: Path | None = None, key: Path | None = None) -> Credentials:
    """Return the given credentials, else those of the settings, else self-signed ones made on this machine.

    Raises RequestError if they do not fit together, are not valid today, or cannot be read.
    """
    if (cert is None) != (key is None):
        given, missing = ("certificate", "key") if key is None else ("key", "certificate")
        raise RequestError(f"a C2PA {given} was given without its {missing}", "give --c2pa-cert and --c2pa-key")
    if cert is None or key is None:
        settings = provenance_settings()
        cert, key = settings.cert, settings.key
        if (cert is None) != (key is None):
            raise RequestError("the settings name a C2PA certificate or its key, but not both", "set cert and key")
    if cert is None or key is None:
        cert = key = _self_signed()
    return _checked(cert, key)


def _checked(cert: Path, key: Path) -> Credentials:
    x509 = _x509()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    chain, secret = _read(cert, "certificate"), _read(key, "key")
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise RequestError(f"{printable(cert)} is not a certificate in PEM", "--c2pa-cert needs a PEM file") from error
    try:
        private = load_pem_private_key(secret, password=None)
    except TypeError as error:
        hint = "remove the password: openssl pkey -in KEY -out NEW"
        raise RequestError(f"the key {printable(key)} is protected by a password", hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestError(f"{printable(key)} is not a private key in PEM", "--c2pa-key needs a PEM file") from error
    try:
        _require_pair(certificates, private, cert, key)
    except UnsupportedAlgorithm as error:
        raise RequestError(f"C2PA does not sign with the kind of key in {printable(cert)}", KINDS_OF_KEYS) from error
    _require_valid_today(certificates[0], cert)
    subject = certificates[0].subject
    names = subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME) or list(subject)
    signer = printable(names[0].value) if names else "an unnamed signer"
    algorithm = _algorithm(private, key)
    # The library reads one form only, and nothing but certificates or a key from a text.
    chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credentials(chain, secret, algorithm, signer, printable(cert))


def _read(path: Path, what: str) -> bytes:
    try:
        return read_limited(path, MAX_PEM_BYTES)
    except OSError as error:
        raise RequestError(f"the C2PA {what} {printable(path)} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RequestError(f"{printable(path)} is too large for a {what}") from error


def _require_pair(certificates: list[Certificate], private: PrivateKeyTypes, cert: Path, key: Path) -> None:
    public = _der(private.public_key())
    matches = [_der(certificate.public_key()) == public for certificate in certificates]
    if matches[0]:
        return
    if any(matches):
        raise RequestError(
            f"the certificate of {printable(key)} is not the first in {printable(cert)}",
            "put it first, then the certificates that issued it",
        )
    raise RequestError(
        f"the key {printable(key)} does not belong to the certificate {printable(cert)}",
        "give the key that the certificate was issued for",
    )


def _der(public: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _require_valid_today(certificate: Certificate, cert: Path) -> None:
    now, start, end = datetime.now(UTC), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise RequestError(f"the certificate {printable(cert)} expired on {end:%Y-%m-%d}", "renew it")
    if now < start:
        raise RequestError(f"the certificate {printable(cert)} is not valid before {start:%Y-%m-%d}")


def _algorithm(private: PrivateKeyTypes, key: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in CURVES:
        return CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise RequestError(
        f"C2PA does not sign with the kind of key in {printable(key)}",
        KINDS_OF_KEYS,
    )


def load_roots(path: Path) -> str:
    """Return the trusted certificates in a PEM file; warn about those that cannot be read. Raises RequestError."""
    x509 = _x509()
    from cryptography.hazmat.primitives.serialization import Encoding

    blocks = PEM_BLOCK.findall(_read(path, "file of trusted roots"))
    certificates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old roots in the lists of systems
        for block in blocks:
            with suppress(ValueError):
                certificates.append(x509.load_pem_x509_certificate(block))
    if not certificates:
        raise RequestError(f"the trusted roots {printable(path)} cannot be read", "it must hold certificates in PEM")
    if len(certificates) < len(blocks):
        log.warning("%s: %d certificates cannot be read", printable(path), len(blocks) - len(certificates))
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def self_signed_path() -> Path:
    """Return the file of the self-signed certificate and its key."""
    return config_folder() / "c2pa" / "self-signed.pem"


def _self_signed() -> Path:
    """Return the file with key and certificates made on this machine, which is made when it is first needed."""
    path = self_signed_path()
    if not path.is_file():
        _x509()
        pem = make_self_signed()
        make_folder(path.parent)
        with atomic_path(path) as new, write_errors(path):
            new.chmod(0o600)  # before the key is in it
            new.write_bytes(pem)
    return path


def _x509() -> ModuleType:
    """Import `cryptography.x509`. Raises RequestError where it is missing."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise RequestError("C2PA certificates need the package cryptography, which is not installed", EXTRA) from error
    return x509
