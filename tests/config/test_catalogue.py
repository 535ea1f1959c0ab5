import re

import pytest

from soundloom.config.catalogue import (
    CATALOGUE,
    find_entry,
    published_config,
    require_entry,
)
from soundloom.config.entries import license_notice
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import parse_model_config
from soundloom.errors import ModelNotFoundError, RequestError

AUDIO = {name: entry for name, entry in CATALOGUE.items() if not entry.is_musicgen}
MUSIC = {name: entry for name, entry in CATALOGUE.items() if entry.is_musicgen}
DOWNLOADED = [entry for entry in AUDIO.values() if entry.sources]


@pytest.mark.parametrize("name", [name for name in AUDIO if name != "mini"])
def test_published_configurations_parse(name):
    assert CATALOGUE[name].parsed_config() == parse_model_config(published_config(name))


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads", "differential", "latents"),
    [
        ("small-music", 1024, 20, 16, False, 1292),
        ("small-sfx-base", 1024, 20, 16, False, 1300),
        ("medium", 1536, 24, 24, True, 4096),
        ("medium-base", 1536, 24, 24, True, 4096),
    ],
)
def test_sizes_are_the_published_ones(name, width, depth, heads, differential, latents):
    config = CATALOGUE[name].parsed_config()
    dit = config.dit
    assert (dit.embed_dim, dit.depth, dit.num_heads, dit.differential) == (width, depth, heads, differential)
    assert dit.head_dim == 64
    assert config.sample_size == latents * config.same.downsampling_ratio


def test_the_catalogue_has_the_longest_clip_of_mini():
    entry = CATALOGUE["mini"]
    assert entry.max_seconds == pytest.approx(entry.parsed_config().max_seconds, abs=0.01)


def test_autoencoders_differ_where_published():
    small, large = (CATALOGUE[name].parsed_config().same for name in ("same-s", "same-l"))
    assert (small.decoder.config.width, small.decoder.config.conv_mapping) == (768, True)
    assert small.decoder.config.latents_per_chunk == 2
    assert (large.decoder.config.width, large.decoder.config.sliding_window) == (1536, (1, 1))
    assert [block for block in range(12) if large.decoder.config.is_sinusoidal(block)] == [5, 6, 7, 8, 9, 10, 11]
    assert not any(large.encoder.config.is_sinusoidal(block) for block in range(12))


@pytest.mark.parametrize("name", ["small-music", "small-sfx", "medium"])
def test_base_models_share_the_text_encoder_of_their_sibling(name):
    base, distilled = (CATALOGUE[key].parsed_config() for key in (f"{name}-base", name))
    assert base.model.conditioning.prompt.repo_id == f"stabilityai/stable-audio-3-{name}"
    assert (base.is_distilled, distilled.is_distilled) == (False, True)
    assert (base.sampling_defaults.guidance, distilled.sampling_defaults.guidance) == (7.0, 1.0)


@pytest.mark.parametrize("alias", ["sm-music", "SM-SFX", "sm-music-base", "Medium"])
def test_aliases_and_upper_case_work(alias):
    assert require_entry(alias).name in CATALOGUE


def test_no_two_models_share_a_name():
    names = [name for entry in CATALOGUE.values() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", DOWNLOADED, ids=lambda entry: entry.name)
def test_every_download_has_a_pinned_commit_a_license_and_an_autoencoder(entry):
    assert re.fullmatch(r"[0-9a-f]{40}", entry.revision)
    assert "Stability AI Community License" in license_notice(entry)
    assert entry.kind == "autoencoder" or entry.autoencoder in CATALOGUE


@pytest.mark.parametrize("entry", [entry for entry in MUSIC.values() if entry.public], ids=lambda entry: entry.name)
def test_music_models_are_non_commercial_and_list_auxiliary_sources(entry):
    assert "NonCommercial 4.0" in license_notice(entry)
    for source in entry.sources:
        assert re.fullmatch(r"[0-9a-f]{40}", source.revision or "0" * 40)
        repos = {source.repo, *(other.repo for other in source.auxiliary)}
        assert "google-t5/t5-base" in repos or source.layout == "transformers"
    with pytest.raises(RequestError, match="not a Stable Audio model"):
        entry.parsed_config()


@pytest.mark.parametrize("name", MUSIC)
def test_configurations_of_music_models_parse(name):
    config = parse(MusicGenConfig, CATALOGUE[name].config())
    assert (config.instruct is not None) == (CATALOGUE[name].kind == "editor")
    assert config.lm.head_dim == 64


def test_melody_is_listed_as_unavailable():
    with pytest.raises(ModelNotFoundError, match="does not support melody") as caught:
        require_entry("musicgen-melody")
    assert "musicgen-medium" in caught.value.hint


def test_large_is_listed_as_unavailable():
    assert find_entry("large") is not None
    with pytest.raises(ModelNotFoundError, match="weights are not public"):
        require_entry("large")


def test_unknown_names_list_the_models():
    with pytest.raises(ModelNotFoundError) as caught:
        require_entry("stable-audio")
    assert "small-music" in caught.value.hint
    assert " large" not in caught.value.hint
