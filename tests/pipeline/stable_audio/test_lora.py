"""Adapters of a model: added, steered, gated, merged and removed, always as a fresh model would compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundloom import GenerationRequest, load
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse, mix
from soundloom.engines.torch.cuda_graphs import GraphCache
from soundloom.errors import MismatchError, ModelNotFoundError, RequestError
from soundloom.lora.adapter import TYPES, is_xs
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights, module_shapes
from soundloom.pipeline.stable_audio import adapters as adapters_module
from soundloom.pipeline.stable_audio.model import Model
from soundloom.testing.adapters import make_adapter

FULL = ("core", "embeds", "local", "seconds")


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Model:
    return load(tiny_model_folder, keep_loaded=True, precision="fp32")


@pytest.fixture(autouse=True)
def _without_adapters(model: Model) -> Any:
    yield
    model.clear_loras()
    model.engine.graphs = None


@pytest.fixture(scope="module")
def files(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter of each type, and a second one of two types."""
    folder = tmp_path_factory.mktemp("adapters")
    checkpoint = load(tiny_model_folder).checkpoint
    shapes, weights = module_shapes(checkpoint.config), base_weights(checkpoint)
    found = {}
    for seed, (name, kind) in enumerate({**{kind: kind for kind in TYPES}, "second": "lora", "third": "bora"}.items()):
        found[name] = folder / f"{name}.safetensors"
        write_adapter(found[name], make_adapter(shapes, kind, seed, FULL, weights=weights), dtype="F32")
    return found


def render(model: Model, **options: Any) -> np.ndarray:
    return model.generate("rain", **{"seconds": 0.3, "seed": 5, "steps": 4, "duration_padding": 0.0, **options}).audio


def fresh(folder: Path, **options: Any) -> Model:
    return load(folder, keep_loaded=True, precision="fp32", **options)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_changes_the_sound_and_merges_to_the_same(model: Model, files: dict[str, Path], kind: str) -> None:
    base = render(model)
    model.add_lora(files[kind], 0.8)
    beside = render(model)
    assert np.abs(beside - base).max() > 0.01 * np.abs(base).max()
    model.merge_loras()
    merged = render(model)
    assert np.abs(merged - beside).max() < 1e-3 * np.abs(beside).max()
    model.unmerge_loras()
    assert np.array_equal(render(model), beside)
    model.clear_loras()
    assert np.array_equal(render(model), base)


def test_strength_zero_is_the_model_alone(model: Model, files: dict[str, Path]) -> None:
    base = render(model)
    for kind in ("lora", "bora"):
        model.add_lora(files[kind], 0.0)
    assert np.array_equal(render(model), base)


def test_changes_between_calls_equal_a_fresh_model(
    model: Model, files: dict[str, Path], tiny_model_folder: Path
) -> None:
    model.add_lora(files["dora-rows"], name="a")
    model.add_lora(files["bora"], 0.5, name="b")
    render(model)
    model.set_lora("a", 0.4)
    model.set_lora("b", 0.9, steps=(2, 3), mode="full")
    found = render(model)
    other = fresh(tiny_model_folder)
    other.add_lora(files["dora-rows"], 0.4, name="a")
    other.add_lora(files["bora"], 0.9, name="b", steps=(2, 3), mode="full")
    assert np.array_equal(found, render(other))
    model.set_loras({"b": 0.9, "a": 0.4})
    assert list(model.adapters) == ["b", "a"]
    assert not np.array_equal(render(model), found)
    model.remove_lora("b")
    model.remove_lora("a")
    assert not model.adapters


def test_a_request_has_its_own_adapters(model: Model, files: dict[str, Path], tiny_model_folder: Path) -> None:
    base = render(model)
    model.add_lora(files["dora-rows"], 0.7, name="style")
    styled = render(model)
    other = str(files["lora"])
    alone = render(model, loras={other: 0.5})
    assert not np.array_equal(alone, styled)
    assert np.array_equal(render(model, loras={}), base)
    assert np.array_equal(render(model, loras={"style": 0.7}), styled)
    assert np.array_equal(render(model), styled)
    request = GenerationRequest("rain", seconds=0.3, seed=5, steps=4, duration_padding=0.0)
    loras = (None, AdapterStack.of({other: 0.5}), AdapterStack())
    together = model.run([replace(request, loras=stack) for stack in loras])
    for clip, wanted in zip(together, (styled, alone, base), strict=True):
        assert np.array_equal(clip.audio, wanted)


def test_the_record_names_what_acted_and_repeats_it(
    model: Model, files: dict[str, Path], tiny_model_folder: Path
) -> None:
    model.add_lora(files["bora"], 0.6, name="a", sigma=(0.1, 0.9), off=("ff",))
    model.add_lora(files["lora"], 0.3)
    clip = model.generate("rain", seconds=0.3, seed=5, steps=4)
    (first, second) = clip.record["request"]["loras"]["uses"]
    assert first == {
        "name": "a",
        "strength": 0.6,
        "mode": "fade",
        "sigma": [0.1, 0.9],
        "off": ["ff"],
        "sha256": model.adapters["a"].adapter.sha256,
    }
    assert second["name"] == "lora" and len(second["sha256"]) == 64
    again = fresh(tiny_model_folder).run([GenerationRequest.from_record(clip.record["request"])])[0]
    assert np.array_equal(again.audio, clip.audio)
    del first["sha256"]
    with pytest.raises(RequestError, match="without its hash"):
        GenerationRequest.from_record(clip.record["request"])


def test_layers_that_were_excluded_stay_so_in_a_record(
    model: Model, files: dict[str, Path], tiny_model_folder: Path
) -> None:
    model.add_lora(files["lora"], exclude=("ff",))
    clip = model.generate("rain", seconds=0.3, seed=5, steps=2)
    again = fresh(tiny_model_folder).run([GenerationRequest.from_record(clip.record["request"])])[0]
    assert np.array_equal(again.audio, clip.audio)
    assert not np.array_equal(clip.audio, model.generate("rain", seconds=0.3, seed=5, steps=2, loras={}).audio)


def test_gates_exclude_steps(model: Model, files: dict[str, Path]) -> None:
    transformer_only = {"exclude": ("seconds",)}
    base = render(model)
    model.add_lora(files["dora-rows"], name="a", **transformer_only)
    always = render(model)
    model.set_lora("a", steps=(1, 4))
    assert np.array_equal(render(model), always)
    model.set_lora("a", steps=(2, 4))
    later = render(model)
    model.set_lora("a", steps=None, sigma=(0.0, 0.999))
    assert np.array_equal(render(model), later)
    assert not np.array_equal(later, always) and not np.array_equal(later, base)
    model.set_lora("a", sigma=(0.0, 1e-6))
    with pytest.raises(RequestError, match="never acts") as error:
        render(model)
    assert error.value.hint.startswith("the run has steps 1 to 4, noise levels 0.5")
    model.set_lora("a", sigma=(0.0, 1.0), steps=(5, 9))
    with pytest.raises(RequestError, match="never acts"):
        render(model)


def test_a_gate_that_excludes_all_calls_of_a_step_leaves_the_base(model: Model, files: dict[str, Path]) -> None:
    """Up to the gated step the latents are those of the base, bit for bit."""
    for sampler in ("euler", "heun", "rk4", "dpmpp-2m"):
        base = render(model, steps=1, sampler=sampler)
        model.add_lora(files["bora"], name=sampler, steps=(1, 1), exclude=("seconds",))
        assert not np.array_equal(render(model, steps=1, sampler=sampler), base)
        model.set_lora(sampler, steps=None, curve=((0.0, 0.0), (1.0, 0.0)))
        with pytest.raises(RequestError, match="never acts"):
            render(model, steps=1, sampler=sampler)
        model.clear_loras()


def test_a_curve_of_ones_is_no_curve(model: Model, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model.add_lora(files["dora-rows"], 0.8, name="a")
    plain = render(model)
    model.set_lora("a", curve=((0.0, 1.0), (1.0, 1.0)))
    assert np.array_equal(render(model), plain)
    model.set_lora("a", curve=((0.0, 0.0), (1.0, 1.0)))
    falling = render(model)
    monkeypatch.setattr(adapters_module, "MAX_RESIDENT", 1)  # sets are loaded one after the other
    assert np.array_equal(render(model), falling)
    assert not np.array_equal(falling, plain)


@pytest.mark.parametrize("stack", ["one", "gated", "several terms"])
def test_captured_graphs_read_the_adapters_of_each_clip(model: Model, files: dict[str, Path], stack: str) -> None:
    def prepare(strength: float) -> None:
        model.clear_loras()
        gate = {"steps": (2, 4)} if stack == "gated" else {}
        model.add_lora(files["dora-rows"], strength, name="a", **gate)
        if stack == "several terms":
            model.add_lora(files["bora"], strength, name="b", mode="linear")

    wanted = {}
    for strength in (0.0, 0.4, 1.0):
        prepare(strength)
        wanted[strength] = render(model)
    model.clear_loras()
    base = render(model)
    model.engine.graphs = GraphCache()
    for strength in (1.0, 1.0, 0.4, 1.0, 0.0, 0.4, 1.0, 1.0):
        prepare(strength)
        np.testing.assert_allclose(render(model), wanted[strength], atol=1e-6)
        model.clear_loras()
        np.testing.assert_allclose(render(model), base, atol=1e-6)


def test_a_change_of_strength_keeps_captured_graphs(model: Model, files: dict[str, Path]) -> None:
    model.engine.graphs = graphs = GraphCache()
    model.add_lora(files["dora-rows"], name="a")
    for strength in (1.0, 0.7, 0.4):
        model.set_lora("a", strength)
        render(model)
    captured = [key for key in graphs.captured if key[0] != "text"]
    assert len(captured) == 1


def test_blends_are_the_adapters_alone_at_their_ends(model: Model, files: dict[str, Path]) -> None:
    a, b = (str(files[name]) for name in ("dora-rows", "third"))
    alone = [render(model, loras=AdapterStack((AdapterUse(one, mode="linear"),), "sum")) for one in (a, b)]
    assert np.array_equal(render(model, loras=mix(a, b, 0)), alone[0])
    assert np.array_equal(render(model, loras=mix(a, b, 1)), alone[1])
    almost = render(model, loras=mix(a, b, 0.9999))
    assert 0 < np.abs(almost - alone[1]).max() < 0.01 * np.abs(alone[1]).max()


def test_only_the_first_adapter_changes_the_duration_unless_asked(model: Model, files: dict[str, Path]) -> None:
    names = [str(files["lora"]), str(files["second"])]
    uses = tuple(AdapterUse(name, only=("seconds",)) for name in names)
    first = render(model, loras=AdapterStack(uses))
    assert np.array_equal(first, render(model, loras=AdapterStack(uses[:1])))
    assert not np.array_equal(first, render(model, loras=AdapterStack(uses, seconds="all")))
    assert np.array_equal(render(model, loras=AdapterStack(uses, seconds="none")), render(model))


def test_patterns_and_strengths_of_layers(model: Model, files: dict[str, Path]) -> None:
    name = str(files["lora"])
    base = render(model)
    only = render(model, loras=[AdapterUse(name, only=("ff",))])
    assert np.array_equal(only, render(model, loras=[AdapterUse(name, 0.0, layers={"ff": 1.0})]))
    assert np.array_equal(base, render(model, loras=[AdapterUse(name, off=("model.", "conditioners."))]))
    with pytest.raises(RequestError, match="'layr' matches no layer"):
        render(model, loras=[AdapterUse(name, only=("layr",))])


def test_a_with_block_restores_the_adapters(model: Model, files: dict[str, Path]) -> None:
    model.add_lora(files["lora"], 0.5, name="a")
    model.add_lora(files["dora-rows"], 0.5, name="b")
    before = render(model)
    with model.loras({"b": 1.0}):
        assert {name: one.strength for name, one in model.adapters.items()} == {"b": 1.0, "a": 0.0}
        inside = render(model)
    assert not np.array_equal(inside, before) and np.array_equal(render(model), before)


def test_published_systems_have_their_own_strengths(model: Model, files: dict[str, Path]) -> None:
    name = str(files["dora-rows"])
    fade = render(model, loras={name: 0.4})
    full = render(model, loras=[AdapterUse(name, 0.4, "full")])
    assert not np.array_equal(fade, full)
    clip = model.generate("rain", seconds=0.3, steps=1, seed=1, compat="stable-audio-3", loras={name: 0.4})
    assert clip.record["request"]["loras"]["uses"][0]["mode"] == "full"
    clip = model.generate("rain", seconds=0.3, steps=1, seed=1, compat="mlx", loras={name: 0.4})
    assert clip.record["request"]["loras"]["combine"] == "sum"


def test_edits_use_adapters_too(model: Model, files: dict[str, Path]) -> None:
    source = model.generate("rain", seconds=0.3, seed=5, steps=2)
    plain = model.vary(source, "rain", seed=1, steps=2)
    adapted = model.vary(source, "rain", seed=1, steps=2, loras={str(files["bora"]): 1.0})
    assert not np.array_equal(plain.audio, adapted.audio)


def test_networks_that_leave_memory_come_back_with_their_adapters(
    files: dict[str, Path], tiny_model_folder: Path, model: Model
) -> None:
    model.add_lora(files["bora"], 0.7)
    leaving = load(tiny_model_folder, precision="fp32")
    leaving.add_lora(files["bora"], 0.7)
    for _ in range(2):
        assert np.array_equal(render(leaving), render(model))


@pytest.mark.parametrize("kind", ["dora-rows", "bora-xs"])
def test_int8_and_bf16_models_take_adapters(files: dict[str, Path], tiny_model_folder: Path, kind: str) -> None:
    for precision in ("int8", "bf16"):
        quantized = load(tiny_model_folder, keep_loaded=True, precision=precision)
        base = render(quantized)
        quantized.add_lora(files[kind], name="a")
        assert not np.array_equal(render(quantized), base)
        quantized.set_lora("a", 0.0)
        assert np.array_equal(render(quantized), base)


def test_a_file_for_another_model_is_rejected(model: Model, tmp_path: Path) -> None:
    shapes = module_shapes(load("mini").checkpoint.config)
    path = tmp_path / "mini.safetensors"
    write_adapter(path, make_adapter(shapes))
    with pytest.raises(MismatchError):
        model.add_lora(path)
    assert not model.adapters


def test_bad_input_is_named(model: Model, files: dict[str, Path]) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no adapter"):
        model.add_lora("nowhere.safetensors")
    with pytest.raises(RequestError, match="no adapter named 'b'"):
        model.set_lora("b", 1.0)
    model.add_lora(files["lora"], name="a")
    with pytest.raises(RequestError, match="named 'a' already"):
        model.add_lora(files["lora"], name="a")
    with pytest.raises(RequestError, match="matches no layer"):
        model.set_lora("a", only=("nothing",))
    with pytest.raises(RequestError, match="strenght"):
        model.set_lora("a", strenght=1)
    assert model.adapters["a"].use.only == ()
    model.merge_loras()
    for action in (lambda: model.set_lora("a", 0.5), lambda: render(model, loras={"a": 0.2}), model.merge_loras):
        with pytest.raises(RequestError, match="unmerge_loras"):
            action()
    model.unmerge_loras()
    model.set_lora("a", steps=(1, 2))
    with pytest.raises(RequestError, match="cannot be merged"):
        model.merge_loras()
    assert model.add_lora(files["lora"]).name == "lora"
    assert model.add_lora(files["lora"]).name == "lora-2"


def test_xs_types_without_vectors_compute_them(model: Model, files: dict[str, Path]) -> None:
    for kind in filter(is_xs, TYPES):
        added = model.add_lora(files[kind])
        assert all({"U", "V"} <= module.tensors.keys() for module in added.adapter.modules.values())


def test_a_server_keeps_few_adapters_of_requests(
    model: Model, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters_module, "MAX_READ", 2)
    model.add_lora(files["third"], 0.0)
    wanted = {kind: render(model, loras={str(files[kind]): 1.0}) for kind in ("lora", "dora-rows", "bora")}
    first = model._adapters.of(model._adapters.resolve(AdapterStack.of(str(files["bora"])), "fade").uses[0])
    for kind, audio in wanted.items():
        assert np.array_equal(render(model, loras={str(files[kind]): 1.0}), audio)
        assert len(model._adapters._read) <= 3
    render(model, loras={str(files["bora"]): 0.5})
    again = model._adapters.of(model._adapters.resolve(AdapterStack.of(str(files["bora"])), "fade").uses[0])
    assert again.sha256 == first.sha256
    assert "third" in model.adapters
