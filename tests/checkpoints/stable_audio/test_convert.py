"""Conversion between all layouts, and its reports."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.stable_audio.convert import convert
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.save import save_bundle
from soundloom.errors import RequestError
from soundloom.quantization.policy import pack, uniform_bits
from soundloom.testing.stable_audio import make_random

LAYOUTS = ("published", "bf16-mirror", "npz", "int4", "int8")
COARSE = {"bf16-mirror": 3e-3, "int4": 0.15, "int8": 1e-2}  # what a layout may change; others, in F16, 1e-3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    for layout in LAYOUTS:
        make_random("small-music", root / layout / "small-music", layout, "tiny")
    source = open_checkpoint(root / "npz" / "small-music")
    bits = uniform_bits(source.tensors, 4, 64)
    bits |= dict.fromkeys(list(bits)[::3], 8)
    save_bundle(root / "mixed" / "small-music", source.config, pack(source.tensors, bits, 64), source.text_encoder, "")
    return root


def reports(made, tmp_path, source, target, **options):
    found = convert(open_checkpoint(made / source / "small-music"), tmp_path / "out", target, **options)
    return {report.part: report for report in found}


@pytest.mark.parametrize("target", LAYOUTS)
@pytest.mark.parametrize("source", [*LAYOUTS, "mixed"])
def test_every_layout_converts_to_every_other(made, tmp_path, source, target):
    found = reports(made, tmp_path, source, target)
    assert open_checkpoint(tmp_path / "out").layout == target
    assert all(report.kept for report in found.values())
    assert all(report.error <= COARSE.get(target, 1e-3) for report in found.values())


@pytest.mark.parametrize(("first", "second"), [("npz", "int4"), ("int8", "published"), ("bf16-mirror", "npz")])
def test_models_with_differential_attention_convert_too(tmp_path, first, second):
    made = make_random("medium", tmp_path / "made", first, "tiny")
    for number, (source, target) in enumerate([(made, second), (tmp_path / "0", first)]):
        reports = convert(open_checkpoint(source), tmp_path / str(number), target)
        assert open_checkpoint(tmp_path / str(number)).layout == target
        assert all(report.kept and report.error <= COARSE.get(target, 1e-3) for report in reports)


@pytest.mark.parametrize("target", ["npz", "int4"])
def test_custom_models_keep_their_configuration_and_named_ones_their_name(made, tmp_path, target):
    shutil.copytree(made / "published" / "small-music", tmp_path / "mybells")
    for source in (tmp_path / "mybells", made / "npz" / "small-music", "mini"):
        convert(open_checkpoint(source), tmp_path / Path(source).name / target, target)
    found = [open_checkpoint(tmp_path / name / target) for name in ("mybells", "small-music", "mini")]
    assert [checkpoint.name for checkpoint in found] == [target, "small-music", "mini"]
    licenses = [checkpoint.license.split(";")[0] for checkpoint in found]
    assert licenses == ["unknown", "Stability AI Community License, Gemma Terms of Use", "Apache License 2.0"]


@pytest.mark.parametrize("target", [*LAYOUTS, "same-only"])
def test_a_standalone_autoencoder_converts_exactly(made, tmp_path, target):
    convert(open_checkpoint(made / "published/small-music"), tmp_path / "alone", "same-only")
    (report,) = convert(open_checkpoint(tmp_path / "alone"), tmp_path / "out", target)
    assert report.part == "autoencoder"
    assert report.changed == 0 or target == "bf16-mirror"


@pytest.mark.parametrize(
    ("source", "target", "exact"),
    [
        ("npz", "published", {"transformer", "conditioner", "autoencoder", "text encoder"}),
        ("int4", "npz", {"transformer", "conditioner", "autoencoder", "text encoder"}),
        ("mixed", "npz", {"transformer", "conditioner", "autoencoder", "text encoder"}),
        ("int4", "int4", {"transformer", "conditioner", "autoencoder", "text encoder"}),
        ("bf16-mirror", "published", {"transformer", "conditioner", "autoencoder", "text encoder"}),
        ("npz", "int4", {"conditioner", "autoencoder", "text encoder"}),
        ("published", "npz", {"conditioner", "autoencoder"}),
    ],
)
def test_values_that_a_layout_can_store_are_exact(made, tmp_path, source, target, exact):
    found = reports(made, tmp_path, source, target)
    assert {part for part, report in found.items() if not report.changed} == exact


def test_a_report_counts_bytes_and_rounding(made, tmp_path):
    report = reports(made, tmp_path, "published", "int4")["transformer"]
    assert 0 < report.bytes_after < 0.25 * report.bytes_before
    assert f"{report.changed} of {report.tensors} tensors rounded, relative error " in str(report)
    exact = reports(made, tmp_path / "2", "int4", "int4")["transformer"]
    assert f"all {exact.tensors} tensors exact" in str(exact)


def test_dropped_parts_are_reported(made, tmp_path):
    found = reports(made, tmp_path, "published", "same-only")
    assert str(found["transformer"]) == "transformer: dropped, the layout cannot store it"
    assert found["autoencoder"].changed == 0


def test_an_unsupported_group_size_is_rejected(made, tmp_path):
    with pytest.raises(RequestError, match="the group size cannot be 48"):
        reports(made, tmp_path, "published", "int4", group_size=48)


def test_an_interrupted_conversion_leaves_no_files(made, tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("soundloom.checkpoints.stable_audio.save.save_text_encoder", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(open_checkpoint(made / "published" / "small-music"), tmp_path / "out", "bf16-mirror")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_rejected(made, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not an empty folder"):
        reports(made, tmp_path, "published", "int4")


def test_conversion_preserves_values(made, tmp_path):
    reports(made, tmp_path, "int8", "published")
    name = "model.model.transformer.layers.0.self_attn.to_qkv.weight"
    source, found = (open_checkpoint(p).tensors[name].numpy() for p in (made / "int8/small-music", tmp_path / "out"))
    np.testing.assert_array_equal(found, source.astype(np.float32))
