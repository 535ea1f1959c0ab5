from __future__ import annotations

import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest

from soundloom.audio.c2pa.credentials import load_credentials, self_signed_path
from soundloom.audio.c2pa.sign import C2paOptions
from soundloom.audio.c2pa.verify import has_manifest, verify
from soundloom.errors import RequestError
from tests.audio.c2pa.conftest import clip

pytest.importorskip("c2pa")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509 import ExtendedKeyUsageOID

PEM = serialization.Encoding.PEM
FORMS = serialization.PrivateFormat


def test_a_self_signed_certificate_is_made_once_and_only_for_this_user():
    first = load_credentials()
    assert first == load_credentials()
    assert first.signer == "soundloom self-signed (untrusted)"
    assert "PRIVATE" in first.key.decode() and "PRIVATE" not in repr(first)
    assert stat.S_IMODE(self_signed_path().stat().st_mode) == 0o600


def test_own_certificates_sign_and_are_trusted_where_their_root_is(tmp_path, pair, monkeypatch):
    cert, key = pair("own")
    other, _ = pair("other")
    path = clip().save(tmp_path / "a.wav", c2pa=C2paOptions(cert, key))
    assert not self_signed_path().exists()
    assert [verify(path, roots).trusted for roots in (None, other, cert)] == [False, False, True]
    monkeypatch.setenv("SOUNDLOOM_C2PA_TRUST", str(cert))
    assert verify(path).verdict.endswith("who is trusted.")


def test_the_settings_name_certificate_and_key(tmp_path, pair, settings):
    cert, key = pair("own")
    settings.mkdir()
    (settings / "settings.toml").write_text(f"[provenance]\ncert = '{cert}'\nkey = '{key}'\ntrust = '{cert}'\n")
    assert verify(clip().save(tmp_path / "a.wav", c2pa=True)).trusted


def test_keys_in_other_forms_are_read(tmp_path, pair):
    cert, key = pair("own")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(b"a note\n" + private.private_bytes(PEM, FORMS.TraditionalOpenSSL, serialization.NoEncryption()))
    assert verify(clip().save(tmp_path / "a.wav", c2pa=C2paOptions(cert, key))).valid


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "Es384"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "Es512"),
        (lambda: rsa.generate_private_key(65537, 2048), "Ps256"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
    ],
)
def test_all_kinds_of_keys_of_c2pa_sign(tmp_path, make, algorithm):
    files = tmp_path / "own.crt", tmp_path / "own.key"
    private = make()
    files[0].write_bytes(certificate(private, ExtendedKeyUsageOID.EMAIL_PROTECTION))
    files[1].write_bytes(private.private_bytes(PEM, FORMS.PKCS8, serialization.NoEncryption()))
    found = verify(clip().save(tmp_path / "a.wav", c2pa=C2paOptions(*files)))
    assert (found.valid, found.algorithm, found.signer) == (True, algorithm, "Ünï")


@pytest.mark.parametrize(
    ("usage", "is_root"), [(ExtendedKeyUsageOID.SERVER_AUTH, False), (ExtendedKeyUsageOID.EMAIL_PROTECTION, True)]
)
def test_certificates_for_other_purposes_cannot_sign(tmp_path, usage, is_root):
    files = tmp_path / "own.crt", tmp_path / "own.key"
    private = ec.generate_private_key(ec.SECP256R1())
    files[0].write_bytes(certificate(private, usage, is_root))
    files[1].write_bytes(private.private_bytes(PEM, FORMS.PKCS8, serialization.NoEncryption()))
    with pytest.raises(RequestError, match=r"own\.crt cannot sign C2PA manifests: .*\nhint: it must be a certificate"):
        clip().save(tmp_path / "a.wav", c2pa=C2paOptions(*files))
    assert not (tmp_path / "a.wav").exists()


def certificate(private, usage, is_root=False) -> bytes:
    """Return a certificate in PEM that an unknown root issued."""
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("a root", "Ünï")]
    root, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder(names[0], names[1], private.public_key(), 7, now, now + timedelta(days=2))
    for extension, critical in [
        (x509.BasicConstraints(ca=is_root, path_length=None), True),
        (x509.KeyUsage(True, *[False] * 8), True),
        (x509.ExtendedKeyUsage([usage]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False),
    ]:
        builder = builder.add_extension(extension, critical)
    return builder.sign(root, hashes.SHA256()).public_bytes(PEM)


def test_a_key_of_another_certificate_is_rejected(tmp_path, pair):
    (cert, _), (_, key) = pair("own"), pair("other")
    with pytest.raises(RequestError, match=r"other\.key does not belong to the certificate .*own\.crt"):
        clip().save(tmp_path / "a.wav", c2pa=C2paOptions(cert, key))
    assert not (tmp_path / "a.wav").exists()


def test_expired_certificates_are_rejected(tmp_path, expired):
    with pytest.raises(RequestError, match=r"expired\.crt expired on 2020-01-31\nhint: renew it"):
        clip().save(tmp_path / "a.wav", c2pa=C2paOptions(*expired))


def test_certificates_of_the_future_are_rejected(pair):
    with pytest.raises(RequestError, match="is not valid before 2999-01-01"):
        load_credentials(*pair("future", 30, datetime(2999, 1, 1, tzinfo=UTC)))


def test_the_certificate_of_the_key_comes_first(pair):
    cert, key = pair("own")
    leaf, root = cert.read_text().split("-----BEGIN CERTIFICATE-----")[1:]
    cert.write_text("".join("-----BEGIN CERTIFICATE-----" + one for one in (root, leaf)))
    with pytest.raises(RequestError, match=r"is not the first in .*own\.crt"):
        load_credentials(cert, key)


@pytest.mark.parametrize(
    "make", [lambda: ec.generate_private_key(ec.SECP256K1()), lambda: dsa.generate_private_key(1024)]
)
def test_other_kinds_of_keys_are_rejected(tmp_path, make):
    files = tmp_path / "own.crt", tmp_path / "own.key"
    private = make()
    files[0].write_bytes(certificate(private, ExtendedKeyUsageOID.EMAIL_PROTECTION))
    files[1].write_bytes(private.private_bytes(PEM, FORMS.PKCS8, serialization.NoEncryption()))
    with pytest.raises(RequestError, match=r"C2PA does not sign with the kind of key in .*own\.key"):
        load_credentials(*files)


def test_protected_keys_are_named(pair):
    cert, key = pair("own")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(private.private_bytes(PEM, FORMS.PKCS8, serialization.BestAvailableEncryption(b"secret")))
    with pytest.raises(RequestError, match=r"is protected by a password\nhint: remove the password"):
        load_credentials(cert, key)


@pytest.mark.parametrize("data", [b"", b"\xff\0", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_files_that_are_not_pem(tmp_path, pair, data):
    cert, key = pair("own")
    bad = tmp_path / "bad.pem"
    bad.write_bytes(data)
    with pytest.raises(RequestError, match=r"bad\.pem is not a certificate in PEM"):
        load_credentials(bad, key)
    with pytest.raises(RequestError, match=r"bad\.pem is not a private key in PEM"):
        load_credentials(cert, bad)
    path = clip().save(tmp_path / "a.wav", c2pa=C2paOptions(cert, key))
    with pytest.raises(RequestError, match=r"the trusted roots .*bad\.pem"):
        verify(path, bad)


def test_unreadable_roots_among_others_are_counted(tmp_path, pair, caplog):
    cert, key = pair("own")
    path = clip().save(tmp_path / "a.wav", c2pa=C2paOptions(cert, key))
    roots = tmp_path / "roots.pem"
    bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    roots.write_bytes(b"a list\n" + bad + cert.read_bytes() + bad)
    assert verify(path, roots).trusted
    assert "roots.pem: 2 certificates cannot be read" in caplog.text


def test_missing_and_huge_files(tmp_path, pair):
    cert, key = pair("own")
    with pytest.raises(RequestError, match=r"the C2PA certificate .* cannot be read: No such file"):
        load_credentials(tmp_path / "nothing.pem", key)
    huge = tmp_path / "huge.pem"
    huge.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(RequestError, match="too large for a key"):
        load_credentials(cert, huge)


def test_half_a_pair(pair, monkeypatch):
    cert, key = pair("own")
    with pytest.raises(RequestError, match="certificate was given without its key"):
        load_credentials(cert, None)
    with pytest.raises(RequestError, match="key was given without its certificate"):
        load_credentials(None, key)
    monkeypatch.setenv("SOUNDLOOM_C2PA_KEY", str(key))
    with pytest.raises(RequestError, match="the settings name a C2PA certificate or its key, but not both"):
        load_credentials()


@pytest.mark.parametrize("package", ["c2pa", "cryptography"])
def test_missing_packages_are_named(tmp_path, monkeypatch, package):
    path = clip().save(tmp_path / "signed.wav", c2pa=True)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RequestError, match=r"not installed\nhint: pip install 'soundloom\[provenance\]'"):
        clip().save(tmp_path / "a.wav", c2pa=True)
    assert not (tmp_path / "a.wav").exists()
    assert clip().save(tmp_path / "b.wav").exists()
    if package == "c2pa":
        assert has_manifest(path)
        with pytest.raises(RequestError, match="not installed"):
            verify(path)
