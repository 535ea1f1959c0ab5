import pytest

from soundloom.checkpoints.licenses import VARIABLE, require_consent
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import DownloadError
from soundloom.folders import config_folder

MUSIC, SAME = CATALOGUE["small-music"], CATALOGUE["same-s"]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "soundloom"))
    monkeypatch.delenv(VARIABLE, raising=False)


def test_without_consent_the_notice_lists_licenses_and_urls():
    with pytest.raises(DownloadError, match="Stability AI Community License") as caught:
        require_consent(MUSIC)
    assert "https://ai.google.dev/gemma/terms" in str(caught.value)
    assert VARIABLE in caught.value.hint


def test_consent_is_stored():
    require_consent(MUSIC, accept=True)
    require_consent(MUSIC)
    require_consent(SAME)  # one of the same licenses


def test_consent_to_one_license_does_not_cover_another():
    require_consent(SAME, accept=True)
    with pytest.raises(DownloadError):
        require_consent(MUSIC)


@pytest.mark.parametrize("value", ["small-music", "sm-music, medium", "stability-community,gemma"])
def test_the_variable_gives_consent(monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    require_consent(MUSIC)


def test_the_variable_of_another_model_does_not(monkeypatch):
    monkeypatch.setenv(VARIABLE, "medium")
    with pytest.raises(DownloadError):
        require_consent(MUSIC)


def test_the_callback_sees_the_notice_and_decides():
    seen = []
    with pytest.raises(DownloadError):
        require_consent(MUSIC, confirm=lambda notice: bool(seen.append(notice)))
    assert "Gemma Terms of Use" in seen[0]
    require_consent(MUSIC, confirm=lambda notice: True)


def test_a_damaged_record_counts_as_no_consent():
    config_folder().mkdir()
    (config_folder() / "licenses.json").write_text("{")
    with pytest.raises(DownloadError):
        require_consent(MUSIC)
