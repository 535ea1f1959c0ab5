"""`--lora` on the commands that generate or edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundloom.audio.clip import as_clip
from soundloom.audio.metadata import read_record
from soundloom.cli.main import main
from soundloom.cli.options.loras import parse_use
from soundloom.cli.options.old_spellings import with_joined_adapters
from soundloom.cli.options.settings import SEPARATOR
from soundloom.config.stable_audio.adapters import AdapterUse, CurvePoint, LayerStrength
from soundloom.errors import RequestError
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights, module_shapes
from soundloom.pipeline.load import load
from soundloom.testing.adapters import make_adapter

FAST = ["--steps", "2", "--seconds", "0.3", "--seed", "5", "--quiet", "--overwrite"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    checkpoint = load("mini").checkpoint
    found = {}
    for seed, kind in enumerate(("dora-rows", "bora")):
        adapter = make_adapter(module_shapes(checkpoint.config), kind, seed, size=0.3, weights=base_weights(checkpoint))
        found[kind] = folder / f"{kind}.safetensors"
        write_adapter(found[kind], adapter)
    return found


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOUNDLOOM_LORAS", str(tmp_path / "loras"))


def run(*arguments: Any) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def audio(path: str) -> np.ndarray:
    return as_clip(path).audio


def uses(path: str) -> list[dict[str, Any]]:
    record = read_record(path)
    assert record is not None
    return list(record["request"]["loras"]["uses"])


def test_an_adapter_changes_the_clip_and_is_recorded(files: dict[str, Path]) -> None:
    run("generate", "kick", *FAST, "-o", "base.wav")
    run("generate", "kick", *FAST, "-o", "a.wav", "--lora", f"{files['dora-rows']}=0.7", "steps=2-", "off=cross_attn")
    (use,) = uses("a.wav")
    assert use.pop("sha256") and use == {
        "name": "dora-rows",
        "strength": 0.7,
        "mode": "fade",
        "steps": [2, 2],
        "off": ["cross_attn"],
    }
    assert not np.array_equal(audio("a.wav"), audio("base.wav"))
    run("generate", "kick", *FAST, "-o", "off.wav", "--lora", f"{files['dora-rows']}=0")
    assert np.array_equal(audio("off.wav"), audio("base.wav"))


def test_like_repeats_adapters_and_finds_them_again(files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    moved = folder / "style.safetensors"
    moved.write_bytes(files["bora"].read_bytes())
    run("generate", "kick", *FAST, "-o", "a.wav", "--lora", "style=0.5")
    run("generate", "--like", "a.wav", "-o", "b.wav", "--quiet")
    assert np.array_equal(audio("a.wav"), audio("b.wav"))
    moved.rename(folder / "renamed.safetensors")
    run("generate", "--like", "a.wav", "-o", "c.wav", "--quiet")
    assert np.array_equal(audio("a.wav"), audio("c.wav"))
    run("generate", "--like", "a.wav", "-o", "d.wav", "--quiet", "--lora-strength", "1")
    assert "strength" not in uses("d.wav")[0]  # 1 is the default
    assert not np.array_equal(audio("a.wav"), audio("d.wav"))
    (folder / "renamed.safetensors").unlink()
    assert main(["generate", "--like", "a.wav", "-o", "e.wav", "--quiet"]) != 0
    assert not Path("e.wav").exists()


def test_every_making_command_takes_adapters(files: dict[str, Path]) -> None:
    run("generate", "kick", *FAST, "-o", "in.wav")
    common = ["--steps", "2", "--seed", "5", "--quiet", "--overwrite", "--lora", files["bora"]]
    run("vary", "in.wav", "kick", *common, "-o", "vary.wav")
    run("inpaint", "in.wav", "kick", "--region", "0.1,0.2", *common, "-o", "inpaint.wav")
    run("extend", "in.wav", "kick", "--seconds", "0.3", *common, "-o", "extend.wav")
    for name in ("vary", "inpaint", "extend"):
        assert uses(f"{name}.wav")[0]["name"] == "bora"


def test_other_spellings_mean_the_same(files: dict[str, Path]) -> None:
    rows, bora = (str(files[name]) for name in ("dora-rows", "bora"))
    spellings: list[list[str]] = [
        ["--lora", f"{rows}=0.5", "--lora", f"{bora}=0.5"],
        ["--lora", f"{rows}:0.5", "--lora", f"{bora}:0.5"],
        ["--lora", rows, "strength=0.5", "--lora", bora, "strength=0.5"],
        ["--lora-ckpt-path", rows, bora, "--lora-strength", "0.5"],
        ["--lora", rows, "--lora", bora, "--lora-strength", "0.5", "--lora-strength", "0.5"],
        [
            "--lora",
            "dora-rows",
            "--lora",
            "bora",
            "--lora-strength",
            "0.5",
            "--adapters-dir",
            str(files["bora"].parent),
        ],
    ]
    for number, spelling in enumerate(spellings):
        run("generate", "kick", *FAST, "-o", f"{number}.wav", *spelling)
        assert np.array_equal(audio(f"{number}.wav"), audio("0.wav"))


def test_a_mix_is_one_adapter_at_each_end(files: dict[str, Path]) -> None:
    both = ["--lora", files["dora-rows"], "--lora", files["bora"]]
    run("generate", "kick", *FAST, "-o", "mix.wav", *both, "--lora-mix", "0")
    run("generate", "kick", *FAST, "-o", "one.wav", "--lora", files["dora-rows"], "mode=linear")
    assert np.array_equal(audio("mix.wav"), audio("one.wav"))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ("steps=2-8", {"steps": (2, 8)}),
        ("steps=2-", {"steps": (2, 8)}),
        ("steps=-4", {"steps": (1, 4)}),
        ("steps=3", {"steps": (3, 3)}),
        ("steps=25%-100%", {"steps": (3, 8)}),
        ("sigma=0.2..0.9", {"sigma": (0.2, 0.9)}),
        ("interval=0.2,0.9", {"sigma": (0.2, 0.9)}),
        ("sigma=..0.9", {"sigma": (0.0, 0.9)}),
        ("layer_filter=a, b", {"off": ("a", "b")}),
        ("layers=ff:0.5,conditioners.:0", {"layers": (LayerStrength("ff", 0.5), LayerStrength("conditioners.", 0.0))}),
        ("curve=0:0,1:1", {"curve": (CurvePoint(0.0, 0.0), CurvePoint(1.0, 1.0))}),
    ],
)
def test_settings_are_parsed(settings: str, wanted: dict[str, Any]) -> None:
    use, _ = parse_use(f"a.safetensors{SEPARATOR}{settings}", 8)
    assert use == AdapterUse("a.safetensors", **wanted)


@pytest.mark.parametrize(
    "settings", ["steps=x", "steps=-", "steps=8-2", "steps=0-3", "sigma=1", "sigma=0.9..0.2", "strength=a", "mode=x"]
)
def test_bad_settings_are_named(settings: str) -> None:
    with pytest.raises(RequestError):
        parse_use(f"a.safetensors{SEPARATOR}{settings}", 8)


def test_only_known_settings_belong_to_an_adapter() -> None:
    arguments = ["generate", "--lora", "a", "steps=1", "only=x", "bpm=120 loop", "--seed", "3"]
    joined = with_joined_adapters(arguments)
    assert joined == ["generate", "--lora", f"a{SEPARATOR}steps=1{SEPARATOR}only=x", "bpm=120 loop", "--seed", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lora", "nowhere"], "there is no adapter nowhere"),
        (["--lora-strength", "0.5"], "--lora-strength needs an adapter"),
        (["--lora", "FILE", "--lora-mix", "0.5"], "--lora-mix blends two adapters, found 1"),
        (["--lora", "FILE", "only=nothing"], "only 'nothing' matches no layer"),
        (["--lora", "FILE", "steps=5-8"], "never acts"),
        (["--lora", "FILE", "--lora-strength", "1", "--lora-strength", "2"], "2 values for 1 adapters"),
        (["--lora", "FILE=nan"], "strength"),
        (["--lora", "FILE=loud"], "'loud', the strength of "),
        (["--lora", "FILE=0,5"], "'0,5', the strength of "),
        (["--lora", "FILE", "strenght=0.5"], "adapters have no setting 'strenght'\nhint: did you mean strength?"),
        (["--lora", "FILE", "--model", "medium"], "bora is an adapter for mini, but the model is medium"),
        (["--lora", "FILE", "--model", "musicgen-small"], "musicgen-small has no use for --lora,"),
    ],
)
def test_faults_are_named_before_anything_is_written(
    files: dict[str, Path], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.replace("FILE", str(files["bora"])) for argument in arguments]
    assert main(["generate", "kick", *FAST, "-o", "x.wav", *given]) != 0
    assert message in capsys.readouterr().err
    assert not Path("x.wav").exists()


def test_words_that_an_adapter_may_have_taught_cause_no_warning(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for strength, warns in ((1, False), (0, True)):
        run("generate", "an organ", *FAST, "-o", "a.wav", "--lora", f"{files['bora']}={strength}")
        assert ("was not trained on these words" in capsys.readouterr().err) == warns
