"""Make a certificate that nobody trusts, for those who have none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, KeyUsage

NAME = "soundloom self-signed (untrusted)"
ROOT_NAME = "root of a self-signed certificate of soundloom (untrusted)"
DAYS = 3650


def make_self_signed(days: int = DAYS, start: datetime | None = None) -> bytes:
    """Return a key, a certificate whose name says that it is untrusted, and its root, in PEM.

    The root's key is thrown away. There is a root because validators may reject a certificate that signs itself.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    begins = start or datetime.now(UTC) - timedelta(days=1)  # clocks differ
    span = begins, begins + timedelta(days=days)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _builder(ROOT_NAME, root_key, root_key, span)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_usage(key_cert_sign=True), critical=True)
    leaf = _builder(NAME, key, root_key, span)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(digital_signature=True), critical=True)
    # One of the purposes that the certificate profile of C2PA allows.
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    certificates = [_signed(builder, root_key) for builder in (leaf, root)]
    pem = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
    return b"".join(pem + [certificate.public_bytes(Encoding.PEM) for certificate in certificates])


def _builder(
    name: str, key: EllipticCurvePrivateKey, issuer: EllipticCurvePrivateKey, span: tuple[datetime, datetime]
) -> CertificateBuilder:
    """Return a certificate of the root, without its purposes."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def named(text: str) -> x509.Name:
        oids = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        return x509.Name([x509.NameAttribute(oid, text) for oid in oids])

    public, issued_by = key.public_key(), x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(ROOT_NAME))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issued_by, critical=False)
    )


def _usage(digital_signature: bool = False, key_cert_sign: bool = False) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        **dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
        ),
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: CertificateBuilder, key: EllipticCurvePrivateKey) -> Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())
