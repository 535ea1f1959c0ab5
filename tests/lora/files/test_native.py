"""Native adapter files: keys, types, ranks, configurations, and what is wrong with some of them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from soundloom.errors import CorruptFileError, MismatchError, ModelNotFoundError, RequestError
from soundloom.lora.adapter import TYPES
from soundloom.lora.files.read import read_adapter
from tests.lora.files.make import GOLDEN, QKV, SHAPES, SQUARE, assert_equal, config_of, flat, make_tensors, save


def key(layer, kind):
    return f"{layer}.parametrizations.weight.0.{kind}"


def make(path, adapter_type="dora-rows", change=lambda tensors: None, config=None, **options):
    """Write an adapter of small layers after a change of its tensors by key."""
    tensors = flat(make_tensors(adapter_type, **options))
    change(tensors)
    return save(path / "a.safetensors", tensors, config_of(adapter_type) if config is None else config)


@pytest.mark.parametrize("adapter_type", TYPES)
def test_every_type_is_read(tmp_path, adapter_type):
    layers = make_tensors(adapter_type)
    found = read_adapter(save(tmp_path / "a.safetensors", flat(layers), config_of(adapter_type)))
    assert (found.type, found.rank, found.alpha, found.form, found.name) == (adapter_type, 3, 6.0, "native", "a")
    assert list(found.modules) == list(SHAPES)
    for name, module in found.modules.items():
        assert module.type == adapter_type and module.rank == 3 and module.scale == 2.0
        assert module.tensors.keys() == layers[name].keys()
        assert all(np.array_equal(module.array(kind), array) for kind, array in layers[name].items())
    assert found.notices == ()


@pytest.mark.parametrize("name", ["part_labelled", "part_bare", "part_2d", "part_baked"])
def test_recorded_forms_hold_the_same_adapter(name):
    assert_equal(read_adapter(GOLDEN / f"{name}.safetensors"), read_adapter(GOLDEN / "part.safetensors"))


def test_recorded_configurations_are_read():
    labelled = read_adapter(GOLDEN / "part_labelled.safetensors")
    assert labelled.config["step"] == 1500 and labelled.config["base_model"] == "sa3-sm-music"
    assert labelled.include == ("layers.0.", "to_cond_embed", "seconds_total", "preprocess_conv")
    baked = read_adapter(GOLDEN / "part_baked.safetensors")
    assert baked.config["norm_base"] == "toy" and baked.metadata["baked_by"] == "record"
    assert all(module.tensors["baked_vnorm_row"].dtype == "F32" for module in baked.modules.values())
    own = read_adapter(GOLDEN / "part_xs_own_bases.safetensors")
    assert all(module.has_factors for module in own.modules.values())
    assert not any(module.has_factors for module in read_adapter(GOLDEN / "part_xs.safetensors").modules.values())


@pytest.mark.parametrize("adapter_type", TYPES)
def test_without_a_configuration_the_tensors_tell_type_and_rank(tmp_path, adapter_type):
    tensors = flat(make_tensors(adapter_type, bases=True))
    found = read_adapter(save(tmp_path / "a.safetensors", tensors))
    assert found.type == adapter_type
    assert (found.rank, found.alpha) == (3, 3.0) and all(module.scale == 1 for module in found.modules.values())
    assert "no lora_config" in found.notices[0]


def test_square_layers_alone_do_not_tell_rows_from_columns(tmp_path):
    square = {name: SHAPES[name] for name in SQUARE}
    tensors = flat(make_tensors("dora-cols", shapes=square))
    with pytest.raises(MismatchError, match="no layer that tells norms of rows from") as caught:
        read_adapter(save(tmp_path / "a.safetensors", tensors))
    assert "adapter_type" in caught.value.hint
    assert read_adapter(save(tmp_path / "b.safetensors", tensors, config_of("dora-cols"))).type == "dora-cols"
    old = read_adapter(save(tmp_path / "c.safetensors", tensors, config_of("dora")))
    assert old.type == "dora-rows" and "rows are assumed" in old.notices[0]


@pytest.mark.parametrize("variant", ["rows", "cols"])
@pytest.mark.parametrize("axes", [1, 2])
def test_the_old_type_dora_is_rows_or_columns(tmp_path, variant, axes):
    layers = make_tensors(f"dora-{variant}")
    for tensors in layers.values():
        if axes == 2:
            tensors["magnitude"] = np.expand_dims(tensors["magnitude"], 1 if variant == "rows" else 0)
    found = read_adapter(save(tmp_path / "a.safetensors", flat(layers), config_of("dora")))
    assert found.type == f"dora-{variant}" == found.config["adapter_type"]
    assert all(len(module.tensors["magnitude"].shape) == 1 for module in found.modules.values())


@pytest.mark.parametrize(
    ("alias", "adapter_type"), [("dora-xs", "dora-rows-xs"), ("xs", "lora-xs"), ("DoRA_rows", "dora-rows")]
)
def test_old_names_of_types_are_read(tmp_path, alias, adapter_type):
    assert read_adapter(make(tmp_path, adapter_type, config=config_of(alias))).type == adapter_type


def test_names_without_model_and_of_full_checkpoints_are_read(tmp_path):
    layers = make_tensors("lora")
    full = {("model." if name.startswith("model.") else "conditioner.") + name: kinds for name, kinds in layers.items()}
    found = read_adapter(save(tmp_path / "a.safetensors", flat(full), config_of("lora")))
    assert list(found.modules) == list(SHAPES)


def test_ranks_may_differ_between_layers(tmp_path):
    layers = make_tensors("lora") | make_tensors("lora", rank=2, shapes={QKV: SHAPES[QKV]})
    found = read_adapter(save(tmp_path / "a.safetensors", flat(layers), config_of("lora")))
    assert found.modules[QKV].rank == 2 and found.modules[QKV].scale == 3.0
    assert found.modules["model.preprocess_conv"].scale == 2.0
    assert found.notices == (
        "its layers have different ranks, and each is scaled by alpha / rank: 2 (1 layers), 3 (5 layers)",
    )


def test_the_rank_of_the_tensors_counts(tmp_path):
    found = read_adapter(make(tmp_path, "lora", config=config_of("lora", rank=8, alpha=8)))
    assert found.modules[QKV].rank == 3 and found.modules[QKV].scale == 8 / 3
    assert "says rank 8" in found.notices[0]


def test_unknown_keys_of_the_configuration_are_kept(tmp_path):
    found = read_adapter(make(tmp_path, config=config_of("dora-rows", studio={"take": 3}, trigger="zxq")))
    assert found.config["studio"] == {"take": 3}
    assert found.hints == {"trigger": "zxq"}


def test_dropout_masks_are_dropped(tmp_path):
    def add(tensors):
        tensors[key(QKV, "lora_dropout_mask")] = np.ones((1, 16), np.float16)

    assert "lora_dropout_mask" not in read_adapter(make(tmp_path, change=add)).modules[QKV].tensors


def test_excluded_layers_are_left_out(tmp_path):
    path = make(tmp_path, config=config_of("dora-rows", exclude=["to_kv"]))
    found = read_adapter(path, exclude=["seconds", "layers[0-0]"])
    assert list(found.modules) == [
        "model.preprocess_conv",
        "model.to_cond_embed.0",
        "model.transformer.layers.1.ff.ff.0.proj",
    ]
    assert found.exclude == ("to_kv", "seconds", "layers[0-0]")
    assert found.sha256 != read_adapter(path).sha256
    with pytest.raises(RequestError, match="matches no layer"):
        read_adapter(path, exclude=["cross_attn"])
    with pytest.raises(MismatchError, match="no layer outside of those excluded"):
        read_adapter(path, exclude=["model", "conditioners"])


def test_the_configuration_may_lie_beside_the_file(tmp_path):
    tensors = flat(make_tensors("dora-cols"))
    path = save(tmp_path / "a.safetensors", tensors)
    (tmp_path / "a.json").write_text(json.dumps({"adapter_type": "dora-cols", "rank": 3, "alpha": 1.5}))
    found = read_adapter(path)
    assert found.type == "dora-cols" and found.modules[QKV].scale == 0.5 and found.notices == ()
    (tmp_path / "a.json").write_text('{"caption": "not about this"')
    assert read_adapter(path).alpha == 3.0


@pytest.mark.parametrize(
    ("name", "text", "hints"),
    [
        (
            "a.metadata.json",
            '{"trigger_word": "zxq", "recommended_strength": 0.7}',
            {"trigger": "zxq", "recommended_strength": 0.7},
        ),
        ("a.trigger.txt", "zxq style\n", {"trigger": "zxq style"}),
        ("a.metadata.json", "{broken", {}),
    ],
)
def test_hints_of_services_are_read_and_not_applied(tmp_path, name, text, hints):
    path = make(tmp_path)
    (tmp_path / name).write_text(text)
    found = read_adapter(path)
    assert found.hints == hints
    assert found.modules[QKV].scale == 2.0


def rename(old, new):
    def change(tensors):
        tensors[new] = tensors.pop(old)

    return change


def replace(kind, array):
    def change(tensors):
        tensors[key(QKV, kind)] = array

    return change


def remove(kind):
    return lambda tensors: tensors.pop(key(QKV, kind))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("lora_A"), "has lora_B, magnitude for model.*, which no adapter type has"),
        (remove("magnitude"), "mixes types: .* of dora, .* of lora"),
        (rename(key(QKV, "lora_A"), key(QKV, "lora_C")), "unknown kind lora_C"),
        (rename(key(QKV, "lora_A"), f"{QKV}.lora_A"), "1 tensors that are not of an adapter: .*lora_A"),
        (rename(key(QKV, "lora_A"), key("decoder.block.0", "lora_A")), r"layers that Stable Audio.*decoder\.block\.0"),
        (rename(key(QKV, "lora_A"), key(QKV, "lora_A").replace(".0.lora", ".1.lora")), "several adapters"),
        (rename(key(QKV, "magnitude"), key(QKV, "magnitude_r")), "which no adapter type has"),
        (replace("lora_B", np.zeros((48, 2), np.float16)), "lora_B of shape .48, 2. .* other tensors contradict"),
        (replace("lora_A", np.zeros((3, 16, 0), np.float16)), "lora_A of shape .* no shape for it"),
        (replace("lora_A", np.zeros(48, np.float16)), "lora_A of shape .* no shape for it"),
        (replace("lora_A", np.zeros((3, 16), np.int8)), "as I8; adapters are F16, BF16, F32"),
        (replace("lora_A", np.zeros((3, 16))), "as F64"),
        (replace("lora_A", np.full((3, 16), np.nan, np.float16)), "not finite in lora_A of model"),
        (replace("lora_B", np.full((48, 3), -np.inf, np.float32)), "not finite in lora_B of model"),
        (replace("magnitude", np.zeros(47, np.float16)), "magnitude of 47 values .* 48 rows and 16 columns"),
        (replace("magnitude", np.zeros(16, np.float16)), "norms of rows for .* and norms of columns for"),
        (replace("magnitude", np.zeros((1, 48), np.float16)), "norms of (rows|columns)"),
        (replace("magnitude", np.zeros((8, 6), np.float16)), "no shape for it"),
        (replace("U", np.zeros((48, 3), np.float16)), "which no adapter type has"),
    ],
)
def test_tensors_that_make_no_adapter_are_named(tmp_path, change, message):
    with pytest.raises(MismatchError, match=message):
        read_adapter(make(tmp_path, change=change))


def test_one_tensor_under_two_names_is_rejected(tmp_path):
    def double(tensors):
        tensors[key(QKV, "lora_A").removeprefix("model.")] = tensors[key(QKV, "lora_A")]

    with pytest.raises(MismatchError, match=r"lora_A of model\..* twice"):
        read_adapter(make(tmp_path, change=double))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (config_of("lora"), "says that its type is lora, but its tensors are those of dora"),
        (config_of("dora-rows-xs"), "says that its type is dora-rows-xs"),
        (config_of("dora-cols"), "type is dora-cols, but .* magnitudes of rows"),
        (config_of("loha"), "unknown type .loha"),
        (config_of(7), "unknown type .7"),
        (config_of("dora-rows", rank=0), "rank is 0"),
        (config_of("dora-rows", rank="16"), "rank is 16, not"),
        (config_of("dora-rows", alpha="x"), "alpha is x"),
        (config_of("dora-rows", alpha=True), "alpha is True"),
        (config_of("dora-rows", alpha=1e300), "alpha is"),
        ({**config_of("dora-rows"), "include": [1]}, "include is not a list of names"),
        ("[1]", "not a JSON object"),
        ('{"rank": 3', "not JSON"),
        ('{"alpha": NaN}', "not JSON"),
        ("[" * 10_000, "not JSON"),
    ],
)
def test_configurations_that_contradict_the_tensors_are_rejected(tmp_path, config, message):
    with pytest.raises(MismatchError, match=message) as caught:
        read_adapter(make(tmp_path, config=config))
    assert "\n" not in caught.value.args[0]


def test_baked_norms_belong_to_rows(tmp_path):
    def bake(tensors):
        tensors[key(QKV, "baked_vnorm_row")] = np.ones(48, np.float32)

    assert "baked_vnorm_row" in read_adapter(make(tmp_path, change=bake)).modules[QKV].tensors
    with pytest.raises(MismatchError, match="baked norms of rows"):
        read_adapter(make(tmp_path, "dora-cols", change=bake))
    with pytest.raises(MismatchError, match="no adapter type has"):
        read_adapter(make(tmp_path, "bora", change=bake))


def test_the_hash_is_that_of_the_values(tmp_path):
    path = make(tmp_path)
    found = read_adapter(path).sha256
    single = {name: array.astype(np.float32) for name, array in flat(make_tensors("dora-rows")).items()}
    other = save(tmp_path / "b.safetensors", single, config_of("dora-rows", step=3), note="another")
    assert read_adapter(other).sha256 == found
    single[key(QKV, "lora_A")][0, 0] += 1e-6
    assert read_adapter(save(other, single, config_of("dora-rows"))).sha256 != found
    assert read_adapter(make(tmp_path, config=config_of("dora-rows", alpha=5))).sha256 != found


def test_truncated_files_are_rejected_at_every_length(tmp_path):
    whole = make(tmp_path, shapes={QKV: (4, 3)}).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(CorruptFileError):
            read_adapter(cut)
    cut.write_bytes(whole)
    assert read_adapter(cut).type == "dora-rows"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no adapter"):
        read_adapter(tmp_path / "absent.safetensors")


def test_reading_imports_no_framework():
    code = (
        "import sys, soundloom.lora; assert 'numpy' not in sys.modules\n"
        f"print(soundloom.lora.read({str(GOLDEN / 'part.ckpt')!r}).type)\n"
        "print(sorted({'torch', 'mlx', 'huggingface_hub', 'safetensors', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split("\n")[:2] == ["dora-rows", "[]"]
