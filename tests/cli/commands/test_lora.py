"""`soundloom lora`: what its actions print, write, and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.save import save_checkpoint
from soundloom.cli.commands import actions_of
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.files.read import read_adapter
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import SECONDS, base_weights, weight_key
from tests.lora.made import make_adapter

SOME = (
    "model.transformer.layers.0.self_attn.to_qkv",
    "model.transformer.layers.1.ff.ff.2",
    SECONDS,
)


@pytest.fixture(scope="module")
def weights():
    return base_weights(open_checkpoint("mini"))


@pytest.fixture
def made(tmp_path, weights):
    """Write an adapter for mini, and return its file."""

    def write(name: str, adapter_type="lora", *, dtype="F32", **options) -> Path:
        path = tmp_path / f"{name}.safetensors"
        write_adapter(path, make_adapter(adapter_type, weights, **{"names": SOME, **options}), dtype=dtype)
        return path

    return write


def changed(weights, path, strength=1.0):
    """Return the weights of three layers as the adapter in a file changes them."""
    modules = read_adapter(path).modules
    return {name: adapted_weight(weights[name].numpy(), [AdapterPart(modules[name], strength)]) for name in SOME}


def difference(one, other, base):
    """Return the largest difference of two changes of a layer, relative to the change."""
    return max(
        float(np.linalg.norm(one[name] - other[name]) / np.linalg.norm(other[name] - base[name].numpy()))
        for name in one
    )


def test_help_lists_the_actions(soundloom):
    done = soundloom("lora", "--help")
    assert done.code == 0
    assert all(f"\n  {name} " in done.out for name in actions_of("lora"))
    for action in actions_of("lora"):
        assert f"usage: soundloom lora {action} " in soundloom("lora", action, "--help").out


def test_a_missing_or_unknown_action_is_one_sentence(soundloom):
    done = soundloom("lora")
    assert (done.code, done.out) == (2, "")
    assert "error: soundloom lora needs an action" in done.err
    assert "did you mean resize" in soundloom("lora", "resise", "file").err


# info


def test_info_describes_an_adapter(soundloom, made):
    path = made(
        "style",
        "dora-rows",
        rank=4,
        base_model="mini",
        step=1500,
        epoch=2,
        trigger="bells",
        dtype="F16",
        dataset={"clips": 12, "seconds": 90.0},
    )
    done = soundloom("lora", "info", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:2] == [
        "style: dora-rows, rank 4, alpha 4, 3 layers",
        "layers: self_attn 1, ff 1, seconds 1",
    ]
    for line in (
        "model: mini, as the file says",
        "step: 1500",
        "epoch: 2",
        "trigger: bells",
        "trained on: 12 clips, 1.5 min",
    ):
        assert line in done.out.splitlines()
    facts = json.loads(soundloom("lora", "info", path, "--json").out)
    assert (facts["type"], facts["rank"], facts["base_model"], facts["fits"]) == ("dora-rows", 4, "mini", ["mini"])
    assert facts["parameters"] == sum(np.prod(tensor.shape) for tensor in read_safetensors(path).values())


def test_info_leaves_out_a_training_set_that_it_cannot_read(soundloom, made):
    assert "trained on" not in soundloom("lora", "info", made("style", dataset={"clips": "many"})).out


def test_info_measures_changes_against_a_model(soundloom, made, weights):
    path = made("style", "dora-cols", size=0.2)
    facts = json.loads(soundloom("lora", "info", path, "--model", "mini", "--json").out)
    found = {one["group"]: one for one in facts["changes"]}
    assert set(found) == {"self_attn", "ff", "seconds", "all"}
    after = changed(weights, path)[SOME[0]]
    before = weights[SOME[0]].numpy()
    assert found["self_attn"]["change"] == pytest.approx(
        np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-3
    )
    assert "change of self_attn: " in soundloom("lora", "info", path, "--model", "mini").out


def test_info_is_fast_and_needs_no_framework(made):
    path = made("style", "dora-rows")
    code = (
        "import sys; from soundloom.cli.main import main; main(['lora', 'info', sys.argv[1]]);"
        "print([name for name in ('torch', 'mlx', 'huggingface_hub', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_info_refuses_other_models_and_files(soundloom, made, tiny_model_folder, tmp_path):
    path = made("style")
    done = soundloom("lora", "info", path, "--model", tiny_model_folder)
    assert done.code == 1
    assert "style is an adapter for mini, but the model is tiny: other shapes in 3 layers" in done.err
    (tmp_path / "text.safetensors").write_text("nothing")
    for name in ("none.safetensors", "text.safetensors", tiny_model_folder / "model.safetensors"):
        done = soundloom("lora", "info", name)
        assert done.code != 0
        assert done.err.startswith("error: ")
        assert len(done.err.splitlines()) <= 2


# convert


def test_convert_stores_bases_or_frees_factors_exactly(soundloom, made, weights):
    path = made("core", "dora-rows-xs", own_bases=False)
    refused = soundloom("lora", "convert", path, "free.safetensors", "--to", "lora")
    assert (refused.code, Path("free.safetensors").exists()) == (2, False)
    assert "stores no singular vectors" in refused.err
    done = soundloom("lora", "convert", path, "own.safetensors", "--model", "mini", "--dtype", "fp32")
    assert done.out == "own.safetensors: native dora-rows-xs to dora-rows-xs, 3 layers\n"
    assert "3 layers are those of the model in use" in done.err
    assert (
        soundloom("lora", "convert", "own.safetensors", "free.safetensors", "--to", "lora", "--dtype", "fp32").code == 0
    )
    assert read_adapter(Path("free.safetensors")).type == "dora-rows"
    free, own = (changed(weights, Path(f"{name}.safetensors")) for name in ("free", "own"))
    assert difference(free, own, weights) < 1e-5
    soundloom("lora", "convert", "own.safetensors", "slim.safetensors", "--slim")
    assert not any(name.endswith((".U", ".V")) for name in read_safetensors(Path("slim.safetensors")))


def test_convert_reads_bases_from_a_file(soundloom, made, weights):
    path = made("core", "lora-xs", own_bases=False)
    assert soundloom("lora", "bases", "mini", "-o", "bases.safetensors", "--rank", 8, "--dtype", "fp32").code == 0
    for options in (["--bases", "bases.safetensors"], ["--model", "mini"]):
        name = f"free{len(options[1])}.safetensors"
        assert soundloom("lora", "convert", path, name, "--to", "lora", "--dtype", "fp32", *options).code == 0
    one, other = (changed(weights, Path(name)) for name in ("free17.safetensors", "free4.safetensors"))
    assert difference(one, other, weights) < 1e-5


# combine, resize, extract, bases, bake


def test_combine_adds_up_adapters_of_type_lora(soundloom, made, weights):
    first, second = made("a", rank=2), made("b", rank=3, seed=9)
    done = soundloom(
        "lora", "combine", first, second, "--weights", "0.7,-0.2", "-o", "both.safetensors", "--dtype", "fp32"
    )
    assert done.out == "both.safetensors: lora, rank 5, exact\n"
    assert "only a changes how the duration is embedded; that of b is left out" in done.err
    uses = [(read_adapter(path).modules, strength) for path, strength in ((first, 0.7), (second, -0.2))]
    wanted = {
        name: adapted_weight(weights[name].numpy(), [AdapterPart(m[name], s) for m, s in uses]) for name in SOME[:2]
    }
    wanted[SECONDS] = adapted_weight(weights[SECONDS].numpy(), [AdapterPart(uses[0][0][SECONDS], 0.7)])
    assert difference(changed(weights, Path("both.safetensors")), wanted, weights) < 1e-5


def test_strengths_may_be_separated_by_spaces_or_commas(soundloom, made):
    first, second = made("a"), made("b", seed=9)
    found = []
    for weights in (["0.7,-0.2"], ["0.7", "-0.2"], ["0.7", "--weights", "-0.2"]):
        command = ("lora", "combine", first, second, "--weights", *weights, "-o", "both.safetensors", "--overwrite")
        assert soundloom(*command).code == 0
        found.append(read_adapter(Path("both.safetensors")).sha256)
    assert len(set(found)) == 1
    assert "2 adapters need as many strengths, found 3" in soundloom(*command[:5], 1, 1, 1, *command[-3:]).err


def test_combine_approximates_others_for_a_model(soundloom, made):
    first, second = made("a", "dora-rows"), made("b", "bora", seed=9)
    refused = soundloom("lora", "combine", first, second, "-o", "both.safetensors")
    assert refused.code == 2
    assert "made" not in refused.err
    assert "a is of type dora-rows, which can only be combined for the weights of a model" in refused.err
    done = soundloom("lora", "combine", first, second, "-o", "both.safetensors", "--model", "mini", "--json")
    facts = json.loads(done.out)
    assert (facts["type"], facts["rank"], facts["exact"]) == ("dora-rows", 6, False)
    assert 0 < next(one["residual"] for one in facts["groups"] if one["group"] == "all") < 1


def test_resize_reports_what_is_lost(soundloom, made, weights):
    path = made("style", rank=8)
    done = soundloom("lora", "resize", path, "-o", "small.safetensors", "--rank", 3)
    assert done.out.startswith("small.safetensors: rank 3\nself_attn: 1 layers, rank 3, lost ")
    found = read_adapter(Path("small.safetensors"))
    assert {module.rank for module in found.modules.values()} == {3}
    kept = soundloom("lora", "resize", path, "-o", "kept.safetensors", "--keep", 0.95, "--per-layer", "--json")
    errors = [one["error"] for one in json.loads(kept.out)["layers"]]
    assert max(errors) <= (1 - 0.95**2) ** 0.5
    assert soundloom("lora", "resize", path, "-o", "none.safetensors").code == 2


def test_extract_recovers_an_adapter(soundloom, made, weights, tmp_path):
    path = made("style", rank=3, size=0.2)
    mini = open_checkpoint("mini")
    tensors = {name: tensor.cast("F32") for name, tensor in mini.tensors.items()}
    for name, values in changed(weights, path).items():
        tensors[weight_key(name)] = from_array(weight_key(name), values)
    save_checkpoint(tmp_path / "tuned", "published", mini.config, tensors, mini.text_encoder)
    done = soundloom("lora", "extract", "tuned", "mini", "-o", "found.safetensors", "--rank", 3, "--dtype", "fp32")
    assert done.code == 0
    assert done.out.splitlines()[0] == "found.safetensors: lora, rank 3"
    assert "all: 3 layers, residual 0.0% of a change of " in done.out
    assert difference(changed(weights, Path("found.safetensors")), changed(weights, path), weights) < 1e-3
    assert soundloom("lora", "info", "found.safetensors", "--model", "mini").code == 0
    assert "agree in all layers" in soundloom("lora", "extract", "mini", "mini", "-o", "same.safetensors").err


def test_bake_stores_norms(soundloom, made):
    path = made("style", "dora-rows")
    done = soundloom("lora", "bake", path, "--model", "mini")
    baked = path.with_suffix(".normbaked.safetensors")
    assert done.out == f"{baked}: norms of 3 layers for mini\n"
    found = read_adapter(baked)
    assert (found.config["norm_base"], found.metadata["baked_variant"]) == ("mini", "dora-rows")
    assert all("baked_vnorm_row" in module.tensors for module in found.modules.values())
    assert "row norms are for other weights" not in soundloom("lora", "info", baked, "--model", "mini").out
    other = made("other-base", size=0.2)
    assert soundloom("lora", "merge", "--model", "mini", "--lora", other, "-o", "tuned").code == 0
    found = soundloom("lora", "info", baked, "--model", "tuned").out
    assert "note: its stored row norms are for other weights, off by " in found
    assert "only dora-rows" in soundloom("lora", "bake", other, "--model", "mini").err


# list and merge


def test_list_names_the_adapters_of_a_folder(soundloom, made, tmp_path, monkeypatch):
    made("bells", "dora-rows", base_model="sa3-sm-music", trigger="tubular")
    made("rain")
    (tmp_path / "broken.safetensors").write_text("nothing")
    done = soundloom("lora", "list", tmp_path)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["name", "type", "rank", "layers", "model", "trigger"]
    assert ["bells", "dora-rows", "3", "3", "small-music", "tubular"] in lines
    assert ["rain", "lora", "3", "3", "mini", "-"] in lines
    assert done.out.splitlines()[-1].startswith("broken: ")
    monkeypatch.setenv("SOUNDLOOM_LORAS", str(tmp_path))
    facts = json.loads(soundloom("lora", "list", "--json").out)
    assert [one["name"] for one in facts["adapters"]] == ["bells", "broken", "rain"]
    (tmp_path / "empty").mkdir()
    assert soundloom("lora", "list", "empty").out == "there are no adapters in empty\n"


def test_merge_writes_a_model_with_the_adapted_weights(soundloom, made, weights, tmp_path):
    first, second = made("a", "dora-rows"), made("b-step=5", seed=9)
    done = soundloom("lora", "merge", "--model", "mini", "--lora", f"{first}=0.6", "--lora", second, "-o", "merged")
    assert done.out == "merged: mini with a at 0.6 and b-step=5 at 1, 3 layers changed\n"
    assert "only a changes how the duration is embedded" in done.err
    merged, mini = open_checkpoint(tmp_path / "merged"), open_checkpoint("mini")
    for name, weight in weights.items():
        uses = [
            (path, s) for path, s in ((first, 0.6), (second, 1.0)) if name in SOME and (name, path) != (SECONDS, second)
        ]
        parts = [AdapterPart(read_adapter(path).modules[name], s) for path, s in uses]
        assert np.array_equal(merged.tensors[weight_key(name)].numpy(), adapted_weight(weight.numpy(), parts))
    others = mini.tensors.keys() - {weight_key(name) for name in SOME}
    assert all(np.array_equal(merged.tensors[name].numpy(), mini.tensors[name].numpy()) for name in others)
    header = (tmp_path / "merged" / "model.safetensors").read_bytes()[:100_000]
    assert b'"merged"' in header
    assert read_adapter(first).sha256.encode() in header
    recorded = json.loads((tmp_path / "merged" / "sha256.json").read_text())["made"]
    assert [(one["name"], one["strength"]) for one in recorded["adapters"]] == [("a", 0.6), ("b-step=5", 1.0)]
    assert "already exists" in soundloom("lora", "merge", "--model", "mini", "--lora", first, "-o", "merged").err


def test_merge_writes_other_layouts_but_reads_only_full_precision(soundloom, made, tmp_path):
    path = made("style")
    command = ("lora", "merge", "--lora", path)
    assert soundloom(*command, "--model", "mini", "-o", "packed", "--layout", "int8").code == 0
    packed = open_checkpoint(tmp_path / "packed")
    assert packed.layout == "int8"
    refused = soundloom(*command, "--model", "packed", "-o", "again")
    assert (refused.code, Path("again").exists()) == (2, False)
    assert "packed is packed, as int8; adapters are merged in full precision only" in refused.err
    assert "soundloom quantize" in refused.err
    assert "change nothing" in soundloom("lora", "merge", "--lora", f"{path}=0", "--model", "mini", "-o", "again").err


# Files


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", "style.safetensors", "out.safetensors"),
        ("combine", "style.safetensors", "style.safetensors", "-o", "out.safetensors"),
        ("resize", "style.safetensors", "-o", "out.safetensors", "--rank", 1),
        ("extract", "mini", "mini", "-o", "out.safetensors"),
        ("bases", "mini", "-o", "out.safetensors", "--rank", 1),
        ("bake", "style.safetensors", "--model", "mini", "-o", "out.safetensors"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_files_are_only_replaced_on_request(soundloom, made, arguments):
    made("style")
    Path("out.safetensors").write_text("mine")
    done = soundloom("lora", *arguments)
    assert done.code == 1
    assert "error: out.safetensors exists already" in done.err
    assert Path("out.safetensors").read_text() == "mine"
    other = ["no/out.safetensors" if argument == "out.safetensors" else argument for argument in arguments]
    assert "there is no folder no" in soundloom("lora", *other).err
    other = ["out.bin" if argument == "out.safetensors" else argument for argument in arguments]
    assert "out.bin must be a .safetensors file" in soundloom("lora", *other).err
    soundloom("lora", *arguments, "--overwrite")
    if arguments[0] not in ("extract", "bake"):
        assert read_safetensors(Path("out.safetensors"))
