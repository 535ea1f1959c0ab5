"""Recipes with invalid values give one sentence each, before anything is allocated."""

import dataclasses
import json
import typing
from pathlib import Path

import pytest

from soundloom.config.ranges import hints_of
from soundloom.config.toml import parse_toml
from soundloom.datasets.synthetic.config import SoundsConfig
from soundloom.errors import ConfigError, RequestError
from soundloom.training import config as configs
from soundloom.training.recipe import Recipe
from soundloom.training.stages.registry import STAGES
from tests.robustness.mutators.media import changed, count, damaged, generator, nested, refusal
from tests.training.tiny_recipe import CONFIGS, to_toml

CLASSES = {spec.name: spec.config for spec in STAGES.values() if spec.config} | {
    "sounds": SoundsConfig,
    "data": configs.DataConfig,
}
LOOP = CONFIGS["dit"]["loop"]
BASES = {
    **{name: CONFIGS[name] for name in CLASSES if name in CONFIGS},
    "instruct": {"batch_size": 2, "seconds": 1.0, "loop": LOOP},
    "data": {"source": "folder", "path": "x", "selection": {"min_peak_db": -60.0}},
}
WRONG = ("-1", "0", "1000000000", "10000000000000000000", "nan", "inf", "-inf", "[0]", "[]", "[-1, 1]", "'x'", "{}",
         "[[1]]", "true", "1e400", "1979-05-27", "1e-300", "-0.0")  # fmt: skip


def fields(cls, prefix=""):
    """Yield the dotted names of all numbers of a dataclass."""
    for name, hint in hints_of(cls).items():
        if dataclasses.is_dataclass(hint):
            yield from fields(hint, f"{prefix}{name}.")
        elif typing.get_origin(hint) is not typing.Literal:
            yield f"{prefix}{name}"


ALL = [(stage, name) for stage, cls in CLASSES.items() for name in fields(cls)]


def recipe(folder: Path, stage: str, text: str, changes=()) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / f"{stage}.toml").write_text(text, encoding="utf-8")
    return Recipe(folder, stage, changes)


@pytest.mark.parametrize(("stage", "name"), ALL)
def test_every_field_accepts_or_rejects_any_value(stage, name, tmp_path):
    for value in WRONG:
        found = recipe(tmp_path / "r", stage, to_toml(BASES[stage]), [f"{name}={value}"])
        message = refusal(lambda found=found: found.read(CLASSES[stage], stage))
        if value in ("nan", "1e400") and name.split(".")[0] != "selection":
            assert message or isinstance(found.read(CLASSES[stage], stage), object)


def numbers(cls):
    for field in dataclasses.fields(cls):
        hint = hints_of(cls)[field.name]
        hint = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        if typing.get_origin(hint) is not typing.Annotated and hint in (int, float):
            yield field.name
        elif dataclasses.is_dataclass(hint):
            yield from (f"{field.name}.{name}" for name in numbers(hint))


@pytest.mark.parametrize("stage", CLASSES)
def test_every_number_has_a_range(stage):
    unlimited = {"selection.min_seconds", "selection.max_seconds"}  # which are compared with each other
    assert {name for name in numbers(CLASSES[stage]) if not name.startswith("adapter.")} <= unlimited


@pytest.mark.parametrize(
    ("stage", "change", "sentence"),
    [
        ("autoencoder", "adversarial.lr_scale=-1", "lr_scale must be between 0 and 1000, found -1"),
        ("autoencoder", "spectral.windows=[0]", r"windows\[0\] must be between 16 and 65536, found 0"),
        ("autoencoder", "spectral.windows=[]", "spectral.windows must be even numbers"),
        ("autoencoder", "frames=1", "frames must be between 2 and 65536, found 1"),
        ("autoencoder", "pca_seconds=0", "pca_seconds must be between 0.001"),
        ("autoencoder", "pca_seconds=nan", "pca_seconds must be a finite number"),
        ("dit", "batch_size=1000000000", "batch_size must be between 1 and 65536"),
        ("dit", "loop.betas=[0.9]", "loop.betas must be two numbers"),
        ("dit", "logsnr=[3, 1]", "logsnr must be a minimum and a maximum"),
        ("sounds", "clips=1000000000", "clips must be between 1 and 1000000"),
        ("data", "selection.min_peak_db=1e300", "min_peak_db must be between -1000 and 100"),
    ],
)
def test_a_value_out_of_range_is_named(stage, change, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        recipe(tmp_path / "r", stage, to_toml(BASES[stage]), [change]).read(CLASSES[stage], stage)


def mutate(name, number, folder):
    rng = generator(name, number)
    stage = list(BASES)[int(rng.integers(len(BASES)))]
    tree = json.loads(json.dumps(changed(BASES[stage], rng)))
    try:
        text = to_toml(tree)
    except (TypeError, AttributeError):
        return
    text = text if rng.random() < 0.5 else damaged(text.encode("utf-8", "replace"), rng).decode("latin-1")
    refusal(lambda: recipe(folder / "r", stage, text).read(CLASSES[stage], stage))


@pytest.mark.parametrize("number", range(count(200)))
def test_mutated_recipes_are_accepted_or_rejected(number, tmp_path):
    mutate("recipes", number, tmp_path)


@pytest.mark.slow
def test_thousands_of_mutated_recipes_are_accepted_or_rejected(tmp_path):
    for number in range(count(4000)):
        mutate("slow recipes", number, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "batch_size = " + "[" * 100_000,
        "batch_size = " + "[" * 500 + "]" * 500,
        "batch_size = " + "{a=" * 500 + "1" + "}" * 500,
        ".".join(["a"] * 5000) + " = 1",
        "[" + ".".join(["a"] * 5000) + "]",
        "batch_size = " + "9" * 5000,
        "# " + "x" * 2**21,
    ],
    ids=["brackets", "lists", "tables", "dotted", "header", "digits", "long"],
)
def test_deep_long_and_huge_files_are_rejected(text, tmp_path):
    with pytest.raises(ConfigError) as caught:
        recipe(tmp_path / "r", "dit", text).read(configs.DiTTrainingConfig, "dit")
    assert len(caught.value.args[0]) < 500


def test_tables_as_deep_as_in_recipes_are_read():
    assert parse_toml("a = " + json.dumps(nested(1, 20)))["a"] == nested(1, 20)


@pytest.mark.parametrize(
    "change", ["a.b=" + "[" * 5000, ".".join(["a"] * 5000) + "=1", "=", "batch_size=" + "9" * 5000]
)
def test_overrides_on_the_command_line_are_limited_too(change, tmp_path):
    with pytest.raises((ConfigError, RequestError)) as caught:
        recipe(tmp_path / "r", "dit", to_toml(BASES["dit"]), [change]).read(configs.DiTTrainingConfig, "dit")
    assert len(caught.value.args[0]) < 500
