"""Adapters beside the weights of the MLX engine: compared with weights that were adapted in NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.lora.adapter import TYPES, ModuleAdapter
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.branches import Branches, LayerBranch, LowRank, Term
from soundloom.lora.compile import BranchCompiler
from soundloom.lora.modules import SECONDS, base_weights, matrix_shape, weight_key
from soundloom.testing.stable_audio import make_random
from tests.lora.made import make_adapter

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.load import named_parameters  # noqa: E402 (needs MLX)
from soundloom.engines.mlx.paths import find  # noqa: E402
from soundloom.engines.mlx.stable_audio.engine import MLXEngine  # noqa: E402

RANK = 3
FEED_FORWARD = "model.transformer.layers.0.ff.ff.0.proj"
LOCAL = "model.transformer.layers.1.to_local_embed.2"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Open a tiny model by its name and layout; each is made once."""
    opened = {}

    def get(name="small-music", layout="published"):
        if (name, layout) not in opened:
            folder = tmp_path_factory.mktemp("models") / layout
            opened[name, layout] = open_checkpoint(make_random(name, folder, layout=layout, size="tiny"))
        return opened[name, layout]

    return get


def random_branch(name, shape, terms, seed):
    rng = np.random.default_rng(seed)
    outputs, inputs = matrix_shape(shape)
    vectors = {"row": lambda: rng.uniform(-0.4, 1.6, outputs), "col": lambda: rng.uniform(0.6, 1.4, inputs)}
    found = tuple(Term(**{side: vectors[side]().astype(np.float32) for side in term.split()}) for term in terms)
    factors = {"lora_A": (RANK, inputs), "lora_B": (outputs, RANK)}
    tensors = {
        kind: from_array(kind, rng.standard_normal(size, dtype=np.float32) / np.float32(size[1] ** 0.5))
        for kind, size in factors.items()
    }
    return LayerBranch(found, (LowRank(ModuleAdapter(name, "lora", RANK, 1.0, tensors), 0.5, *found[0]),))


def random_branches(checkpoint, terms=("row col",), seed=0):
    """Return branches of all layers whose terms have the vectors that are named."""
    weights = base_weights(checkpoint)
    branches = (random_branch(name, w.shape, terms, [seed, i]) for i, (name, w) in enumerate(weights.items()))
    return Branches(dict(zip(weights, branches, strict=True)))


def as_matrix(weight, branch):
    """Return the weight that a branch computes with."""
    w = weight.reshape(matrix_shape(weight.shape)).astype(np.float64)
    one = np.float64(1)
    total = sum((one if row is None else row[:, None]) * w * (one if col is None else col) for row, col in branch.terms)
    down, up = branch.factors()
    return (total + up.astype(np.float64) @ down).astype(np.float32).reshape(weight.shape)


def merged(checkpoint, branches):
    """Return the checkpoint with the weights that branches compute with."""
    weights = base_weights(checkpoint)
    return with_weights(
        checkpoint, {name: as_matrix(weights[name].numpy(), branch) for name, branch in branches.layers.items()}
    )


def with_weights(checkpoint, weights):
    """Return the checkpoint with other weights, by names as in adapter files; all are float32, also packed ones."""
    plain = {key: from_array(key, tensor.numpy()) for key, tensor in checkpoint.tensors.items()}
    others = {weight_key(name): from_array(weight_key(name), array) for name, array in weights.items()}
    return replace(checkpoint, tensors=plain | others)


def outputs(engine):
    """Return what adapters act on: the context, the duration and the velocity of one step."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return engine.array(rng.standard_normal(shape, dtype=np.float32))

    config = engine.checkpoint.config
    width, channels = config.model.conditioning.cond_dim, config.dit.io_channels
    text, mask = normal(2, 5, width), np.arange(5) < np.array([[5], [3]])
    context, duration = engine.embed(text, mask, np.float32([3, 40]))
    cond = engine.condition(context, duration, normal(2, config.dit.local_add_cond_dim, 7), times=(0.7,))
    velocity = engine.velocity(normal(2, channels, 7), 0.7, cond, None)
    return [engine.numpy(found) for found in (context, duration, velocity)]


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("terms", [("",), ("row",), ("col",), ("row col",), ("", "row col", "row")])
@pytest.mark.parametrize("name", ["small-music", "medium"])
def test_a_branch_gives_the_output_of_the_adapted_weight(checkpoints, name, terms):
    checkpoint = checkpoints(name)
    branches = random_branches(checkpoint, terms)
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    engine.load_branches([branches])
    engine.use_branches(0)
    found = outputs(engine)
    assert_close(found, outputs(MLXEngine(merged(checkpoint, branches), "cpu", "fp32")), 1e-5)
    engine.use_branches(None)
    assert max(np.abs(one - base).max() for one, base in zip(found, outputs(engine), strict=True)) > 0.1


@pytest.mark.parametrize("layout", ["int8", "int4"])
def test_a_branch_over_packed_weights_equals_a_merge_into_the_dequantized_ones(checkpoints, layout):
    checkpoint = checkpoints(layout=layout)
    branches = random_branches(checkpoint, ("row col", "col"))
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    engine.load_branches([branches])
    engine.use_branches(0)
    expected = outputs(MLXEngine(merged(checkpoint, branches), "cpu", "fp32"))
    assert_close(outputs(engine), expected, 1e-4)


@pytest.mark.parametrize("adapter_type", TYPES)
@pytest.mark.parametrize("layout", ["published", "int8", "int4"])
def test_every_type_of_adapter_equals_its_merge(checkpoints, layout, adapter_type):
    checkpoint = checkpoints(layout=layout)
    weights = base_weights(checkpoint)
    names = [name for name in weights if ".layers.1." in name or "layers" not in name]
    adapter = make_adapter(adapter_type, weights, names=names)
    parts = {name: [AdapterPart(module, 0.7)] for name, module in adapter.modules.items()}
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    engine.load_branches([BranchCompiler(weights).compile(parts)])
    engine.use_branches(0)
    adapted = {name: adapted_weight(weights[name].numpy(), part) for name, part in parts.items()}
    expected = outputs(MLXEngine(with_weights(checkpoint, adapted), "cpu", "fp32"))
    assert_close(outputs(engine), expected, 1e-4)


@pytest.mark.parametrize("layout", ["published", "int4"])
def test_without_a_slot_the_output_is_that_of_the_weights_bit_for_bit(checkpoints, layout):
    checkpoint = checkpoints(layout=layout)
    base = outputs(MLXEngine(checkpoint, "cpu", "fp32"))
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    engine.load_branches([random_branches(checkpoint), None])
    assert_equal(outputs(engine), base)
    engine.use_branches(0)
    assert np.abs(outputs(engine)[2] - base[2]).max() > 0.1
    for slot in (1, None):
        engine.use_branches(slot)
        assert_equal(outputs(engine), base)


def test_slots_switch_and_are_replaced_together(checkpoints):
    checkpoint = checkpoints()
    first, second = (random_branches(checkpoint, seed=seed) for seed in (1, 2))
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    engine.load_branches([first, second])
    found = []
    for slot in (0, 1, 0):
        engine.use_branches(slot)
        found.append(outputs(engine))
    assert_equal(found[0], found[2])
    assert np.abs(found[0][2] - found[1][2]).max() > 0.1
    engine.load_branches([second])
    engine.use_branches(0)
    assert_equal(outputs(engine), found[1])
    with pytest.raises(IndexError, match="no slot 1 among 1"):
        engine.use_branches(1)


def test_strengths_of_one_adapter_share_its_factors(checkpoints):
    checkpoint = checkpoints()
    weights = base_weights(checkpoint)
    adapter = make_adapter("dora-rows", weights, names=[FEED_FORWARD])
    compiler = BranchCompiler(weights)
    sets = [compiler.compile({FEED_FORWARD: [AdapterPart(adapter.modules[FEED_FORWARD], s)]}) for s in (0.5, 1.0)]
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    layer = find(engine.module("dit"), FEED_FORWARD.removeprefix("model.").split("."))
    engine.load_branches(sets)
    held = []
    for slot in (0, 1):
        engine.use_branches(slot)
        held.append(layer.branch)
    engine.load_branches(sets[1:])
    engine.use_branches(0)
    held.append(layer.branch)
    assert held[0].factors[0] is held[1].factors[0] is held[2].factors[0]
    assert held[0].scale != held[1].scale


def test_networks_that_are_freed_and_loaded_again_keep_the_slot(checkpoints):
    checkpoint = checkpoints()
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    engine.load_branches([random_branches(checkpoint)])
    engine.use_branches(0)
    found = outputs(engine)
    engine.free("dit", "conditioner")
    assert_equal(outputs(engine), found)


def test_a_branch_changes_its_layer_alone(checkpoints):
    checkpoint = checkpoints()
    every = random_branches(checkpoint).layers
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    base = outputs(engine)
    engine.load_branches([Branches({name: every[name]}) for name in (SECONDS, FEED_FORWARD, LOCAL)])
    changed = []
    for slot in range(3):
        engine.use_branches(slot)
        changed.append([not np.array_equal(one, other) for one, other in zip(outputs(engine), base, strict=True)])
    assert changed == [[True, True, True], [False, False, True], [False, False, True]]


@pytest.mark.parametrize("layout", ["published", "int4"])
def test_branches_are_no_parameters_of_the_network(checkpoints, layout):
    checkpoint = checkpoints(layout=layout)
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    names, size = named_parameters(engine.module("dit")).keys(), engine.weight_bytes("dit")
    engine.load_branches([random_branches(checkpoint)])
    engine.use_branches(0)
    assert named_parameters(engine.module("dit")).keys() == names
    assert engine.weight_bytes("dit") == size


def test_a_branch_of_a_layer_that_the_network_lacks_is_an_error(checkpoints):
    checkpoint = checkpoints()
    engine = MLXEngine(checkpoint, "cpu", "fp32")
    branch = random_branches(checkpoint).layers[FEED_FORWARD]
    engine.load_branches([Branches({"model.transformer.layers.9.ff.ff.2": branch})])
    engine.use_branches(0)
    with pytest.raises(LookupError):
        engine.load("dit")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_keeps_the_change_of_the_output(checkpoints, precision):
    checkpoint = checkpoints()
    branches = random_branches(checkpoint)
    found = []
    for each in (precision, "fp32"):
        engine = MLXEngine(checkpoint, "cpu", each)
        engine.load_branches([branches])
        engine.use_branches(0)
        found.append(outputs(engine)[2])
    assert np.abs(found[0] - found[1]).max() < 0.03 * np.abs(found[1]).max()
