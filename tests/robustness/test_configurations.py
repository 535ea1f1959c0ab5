"""Damaged configurations, tokenizers, and manifests are accepted or rejected, with few allocations."""

from __future__ import annotations

import io
import json
import shutil
import time
from functools import partial

import numpy as np
import pytest

from soundloom.checkpoints.stable_audio.shapes import model_shapes
from soundloom.config.catalogue import published_config
from soundloom.config.musicgen.model import MusicGenConfig, parse_composite_config
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import parse_model_config
from soundloom.errors import CheckpointError, ConfigError
from soundloom.text.tokenizer import Tokenizer
from soundloom.untrusted.json import decode_json, read_json
from tests.robustness.mutators.base import Outcomes, inputs, mutate_bytes, mutate_json
from tests.robustness.mutators.formats import rewrite_zip
from tests.robustness.mutators.models import damage, make_sound, read_all

TEXT_ENCODER = "t5gemma-b-b-ul2/config.json"
FILES = [
    ("published", "model_config.json"),
    ("published", TEXT_ENCODER),
    ("same-only", "model_config.json"),
    ("int4", "dit_sm_music/manifest.json"),
    ("musicgen", "model_config.json"),
    ("transformers", "config.json"),
    ("sharded", "model.safetensors.index.json"),
    ("audiocraft", "t5-base/config.json"),
    ("bundle", "config.json"),
]


@pytest.mark.parametrize(("layout", "name"), FILES)
def test_damaged_configurations(folders, tmp_path, layout, name):
    damage(folders(layout), name, mutate_json, read_all, 40, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "name"), FILES)
def test_many_damaged_configurations(folders, tmp_path, layout, name):
    """A configuration that matches the weights must also run."""
    found = damage(folders(layout), name, mutate_json, make_sound, 300, tmp_path)
    assert found.counts["refused"] and found.counts["read"]


def damage_meta(data, rng):
    """Change the configuration in the text encoder's npz file."""

    def change(name, part):
        if name != "META.npy":
            return part
        stream = io.BytesIO()
        text = mutate_json(np.load(io.BytesIO(part)).tobytes(), rng)
        np.save(stream, np.frombuffer(text, np.uint8))
        return stream.getvalue()

    return rewrite_zip(data, change, rng)


def test_damaged_configurations_in_npz_files(folders, tmp_path):
    damage(folders("npz"), "t5gemma_f16.npz", damage_meta, read_all, 40, tmp_path)


TOKENIZERS = [("published", "t5gemma-b-b-ul2/tokenizer.model"), ("musicgen", "spiece.model")]


def tokenize(model):
    return Tokenizer(model, 0, 128)(["rain on a roof", "", "\x00 é 😀"], 16)


@pytest.mark.parametrize(("layout", "name"), TOKENIZERS)
def test_damaged_tokenizers(folders, layout, name):
    whole, found = (folders(layout) / name).read_bytes(), Outcomes()
    for number, rng in enumerate(inputs(100, name)):
        found.check(partial(tokenize, mutate_bytes(whole, rng)), f"{name}, input {number}")
    assert found.counts["refused"]


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "name"), TOKENIZERS)
def test_many_damaged_tokenizers(folders, tmp_path, layout, name):
    damage(folders(layout), name, mutate_bytes, make_sound, 400, tmp_path)


def test_an_empty_tokenizer_is_rejected():
    with pytest.raises(CheckpointError, match="empty"):
        Tokenizer(b"")


def test_a_tokenizer_with_too_many_tokens_is_rejected(folders):
    model = (folders("published") / "t5gemma-b-b-ul2/tokenizer.model").read_bytes()
    with pytest.raises(CheckpointError, match="tokens, the text encoder only 5"):
        Tokenizer(model, 0, 5)


# Ranges: each field is tested at both limits and one step beyond.


def with_change(config, path, value):
    data = json.loads(json.dumps(config))
    place = data
    *parents, last = path.split(".")
    for key in parents:
        place = place[key]
    place[last] = value
    return data


DIT, ENCODER = "model.diffusion.config", "model.pretransform.config.encoder.config"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((f"{DIT}.depth", value) for value in (0, -1, 1025, 10**6, 10**19, True, 1.5, "4", None)),
        *((f"{DIT}.num_heads", value) for value in (0, -16, 3)),
        *((f"{DIT}.embed_dim", value) for value in (0, 1 << 17)),
        *((f"{DIT}.ff_kwargs.mult", value) for value in (0, -1, 1e6, 10**400)),
        *((f"{ENCODER}.strides", value) for value in ([0], [-16], [16, 16], [], 16, [1.5])),
        *((f"{ENCODER}.transformer_depths", value) for value in ([10**6], [0])),
        *((f"{ENCODER}.dim_heads", value) for value in (0, 7)),
        (f"{ENCODER}.sinusoidal_blocks", []),
        ("sample_rate", 3999),
        ("sample_rate", 768_001),
        ("sample_size", 0),
        ("audio_channels", 1),
        ("model.conditioning.cond_dim", 0),
        *(("model.conditioning.configs.0.config.max_length", value) for value in (0, 4097)),
        ("model.conditioning.configs.0.config.subfolder", "../../elsewhere"),
        ("model.conditioning.configs.0.config.subfolder", "x" * 300),
        ("model.conditioning.configs.0.config.subfolder", "/elsewhere"),
        ("model.conditioning.configs.0.config.repo_id", "a\nerror: forged"),
        ("model.conditioning.configs.1.config.min_val", 384),
    ],
)
def test_numbers_out_of_range_are_rejected(path, value):
    path = path.replace("configs.0", "configs[0]").replace("configs.1", "configs[1]")
    config = published_config("small-music")
    data = json.loads(json.dumps(config))
    place = data
    *parents, last = path.split(".")
    for key in parents:
        key, _, index = key.partition("[")
        place = place[key][int(index[:-1])] if index else place[key]
    place[last] = value
    with pytest.raises(ConfigError):
        parse_model_config(data)


@pytest.mark.parametrize(
    ("field", "value"), [("depth", 1), ("depth", 1024), ("num_memory_tokens", 0), ("num_heads", 1)]
)
def test_numbers_at_the_limits_are_accepted(field, value):
    config = parse_model_config(with_change(published_config("small-music"), f"{DIT}.{field}", value))
    assert getattr(config.dit, field) == value
    assert model_shapes(config)


def test_a_depth_of_a_million_is_rejected_quickly(folders, tmp_path):
    data = (folders("published") / "model_config.json").read_text()
    (tmp_path / "model_config.json").write_text(data.replace('"depth": 2', '"depth": 1000000'))
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"depth must be between 1 and 1024, found 1000000"):
        parse_model_config(read_json(tmp_path / "model_config.json"))
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "section",
    [
        {"t5": {"pad_token_id": 32128}},
        {"t5": {"relative_attention_num_buckets": 3}},
        {"t5": {"relative_attention_max_distance": 8}},
        {"encodec": {"upsampling_ratios": [0, 4]}},
        {"encodec": {"upsampling_ratios": []}},
        {"encodec": {"upsampling_ratios": [2] * 17}},
        {"encodec": {"compress": 100}},
        {"encodec": {"num_residual_layers": 64}},
        {"lm": {"num_hidden_layers": 1025}},
        {"lm": {"num_attention_heads": 0}},
        {"instruct": {"max_frames": 0}},
        {"lm": []},
        {"t5": {"d_model": 64}},
    ],
)
def test_musicgen_sizes_out_of_range_are_rejected(section):
    with pytest.raises(ConfigError):
        parse(MusicGenConfig, section)


@pytest.mark.parametrize("part", ["text_encoder", "audio_encoder", "decoder"])
@pytest.mark.parametrize("value", [[], None, "x", 5])
def test_sections_of_the_wrong_type_are_rejected(part, value):
    with pytest.raises(ConfigError, match=f"{part} must be an object"):
        parse_composite_config({"model_type": "musicgen", part: value})


@pytest.mark.parametrize("name", ["x" * 300, "../other.safetensors", "/etc/passwd", "", ".", "a\nb", 5, None])
def test_shards_must_be_next_to_their_index(folders, tmp_path, name):
    shutil.copytree(folders("sharded"), tmp_path / "m")
    (tmp_path / "m/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ConfigError, match="must list file names"):
        read_all(tmp_path / "m")


def test_unknown_fields_are_shortened_and_escaped():
    with pytest.raises(ConfigError) as caught:
        parse_model_config({"\nerror: forged" + "x" * 100_000: 1, "model_type": "diffusion_cond_inpaint"})
    assert str(caught.value).count("\n") <= 1  # before the hint
    assert len(str(caught.value)) < 500


# JSON


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 1_000_000,
        b'"' + b'\\"' * 1_000_000,
        b"1" * 4301,
        b"NaN",
        b"-Infinity",
        b"\xff\xfe",
        b"",
        b" " * (1 << 22) + b"1",
    ],
)
def test_invalid_json_is_rejected_quickly(text):
    started = time.process_time()
    with pytest.raises(ValueError, match=r"\S") as caught:
        decode_json(text)
    assert time.process_time() - started < 1
    assert len(str(caught.value)) < 200


def test_json_at_the_limits_is_accepted():
    assert decode_json(b"[" * 64 + b"]" * 64) is not None
    assert decode_json(b'{"[[[[": "' + b"[" * 1000 + b'\\"", "b": [[],[]]}') == {
        "[[[[": "[" * 1000 + '"',
        "b": [[], []],
    }
