from pathlib import Path

import pytest

from soundloom.errors import ConfigError
from soundloom.settings import ProvenanceSettings, provenance_settings
from tests.docs.pages import ROOT, blocks


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Write the file of settings, and let soundloom find it."""
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path))
    for name in ("CERT", "KEY", "TRUST"):
        monkeypatch.delenv(f"SOUNDLOOM_C2PA_{name}", raising=False)

    def write(data):
        (tmp_path / "settings.toml").write_bytes(data if isinstance(data, bytes) else data.encode())

    return write


def test_without_a_file_nothing_is_signed_and_everything_disclosed(settings):
    assert provenance_settings() == ProvenanceSettings(c2pa=False, disclosure=True)


def test_the_file_is_read(settings):
    settings('[provenance]\nc2pa = true\ndisclosure = false\ncert = "~/a.pem"\nkey = "/b.pem"\ntrust = "/c.pem"\n')
    wanted = ProvenanceSettings(True, False, Path.home() / "a.pem", Path("/b.pem"), Path("/c.pem"))
    assert provenance_settings() == wanted


def test_the_example_of_the_docs_is_read(settings):
    (block,) = [block for block in blocks(ROOT / "docs" / "provenance.md") if block.language == "toml"]
    settings(block.text)
    found = provenance_settings()
    assert (found.c2pa, found.disclosure, found.cert) == (True, False, Path.home() / "keys" / "chain.pem")


def test_the_environment_overrides_the_file(settings, monkeypatch):
    settings('[provenance]\ncert = "a.pem"\nkey = "b.pem"\n')
    monkeypatch.setenv("SOUNDLOOM_C2PA_CERT", "other.pem")
    found = provenance_settings()
    assert (found.cert, found.key) == (Path("other.pem"), Path("b.pem"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[provenance]\nc2pa = 1\n", "c2pa must be true or false, found 1"),
        ("[provenance]\ncert = true\n", "cert must be the path of a file, in quotes, found True"),
        ("[provenance]\nsign = true\n", "unknown setting sign\nhint: use c2pa, disclosure, cert, key, trust"),
        ("provenance = 3\n", r"must have one table, \[provenance\]"),
        ("[other]\n", r"must have one table, \[provenance\]"),
        ("[provenance\n", "cannot be read as TOML"),
        (b"\xff", "cannot be read as TOML"),
        ("x = " + "[" * 5000, "cannot be read as TOML"),
        (b"#" * (2**20 + 1), "more than the limit"),
    ],
)
def test_invalid_files_are_rejected(settings, data, message):
    settings(data)
    with pytest.raises(ConfigError, match=message):
        provenance_settings()
