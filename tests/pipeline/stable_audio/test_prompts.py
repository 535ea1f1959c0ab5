"""Prompt weights and blends through the networks, on both engines."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundloom import GenerationRequest, Guidance, load
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX
from soundloom.config.stable_audio.request import COMPAT, Compat
from soundloom.engines.torch.cuda_graphs import GraphCache
from soundloom.errors import RequestError
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights, module_shapes
from soundloom.pipeline.stable_audio.model import Model
from soundloom.pipeline.stable_audio.plan import make_batches, plan_pass
from soundloom.pipeline.stable_audio.prompts import PromptTokens, frame_times, shares_at
from soundloom.pipeline.stable_audio.velocity import Embeddings, VelocityField
from soundloom.testing.adapters import make_adapter

A, B = "warm piano in a room", "kick drum loop, 120 BPM"
CURVE = ((0.0, 0.0), (0.3, 1.0))
# Relative to the peak: float rounding of other batch sizes, and what text moves at least in this untrained network.
EQUAL, CHANGED = 3e-5, 2e-4
ENGINES = ("torch", *(("mlx",) if find_spec("mlx") else ()))


@pytest.fixture(scope="module", params=ENGINES)
def model(request: pytest.FixtureRequest, tiny_model_folder: Path) -> Model:
    return load(tiny_model_folder, engine=request.param, keep_loaded=True, precision="fp32")


@pytest.fixture(scope="module")
def torch_model(tiny_model_folder: Path) -> Model:
    return load(tiny_model_folder, engine="torch", device="cpu", keep_loaded=True, precision="fp32")


def request(prompt: str = A, **options: Any) -> GenerationRequest:
    return GenerationRequest(prompt, **{"seconds": 0.3, "seed": 5, "steps": 2, "duration_padding": 0.0, **options})


def render(model: Model, prompt: str = A, **options: Any) -> np.ndarray:
    return model.run([request(prompt, **options)])[0].audio


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference relative to the peak."""
    return float(np.abs(first - second).max() / np.abs(second).max())


GUIDED = {"guidance": Guidance(4.0, apg=0.5), "negative_prompt": "hiss"}


@pytest.mark.parametrize("options", [{}, GUIDED], ids=["plain", "guided"])
def test_at_its_ends_a_blend_is_either_prompt_bit_for_bit(model: Model, options: dict[str, Any]) -> None:
    alone = {0: render(model, A, **options), 1: render(model, B, **options)}
    assert difference(alone[0], alone[1]) > CHANGED
    for share in (0, 1):
        for mix in (share, float(share), [(0.2, share)], [(0, share), (1, share)]):
            assert np.array_equal(render(model, A, prompt_b=B, mix=mix, **options), alone[share])


def test_weights_of_one_change_nothing(model: Model) -> None:
    plain = render(model, A, **GUIDED)
    weighted = render(model, "(warm piano:1.0) in ((a:2) room:1)".replace("(a:2)", "(a:1)"), **GUIDED)
    assert np.array_equal(weighted, plain)
    assert np.array_equal(render(model, A, **GUIDED | {"negative_prompt": "(hiss:1)"}), plain)
    assert np.array_equal(render(model, A, prompt_b=f"({B}:1)", mix=0.4), render(model, A, prompt_b=B, mix=0.4))


def test_weights_blends_and_weighted_negative_prompts_change_the_sound(model: Model) -> None:
    plain, guided = render(model), render(model, **GUIDED)
    for changed in (
        render(model, "(warm piano:1.5) in a room"),
        render(model, A, prompt_b=B),
        render(model, A, prompt_b=B, mix=CURVE),
    ):
        assert difference(changed, plain) > CHANGED
    assert difference(render(model, **GUIDED | {"negative_prompt": "(hiss:2)"}), guided) > CHANGED


def test_both_engines_agree(tiny_model_folder: Path) -> None:
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    models = [load(tiny_model_folder, engine=name, keep_loaded=True, precision="fp32") for name in ("torch", "mlx")]
    for options in ({"prompt_b": f"({B}:1.4)", "mix": 0.3}, {"prompt_b": B, "mix": CURVE, **GUIDED}):
        first, second = (render(model, "(warm:1.6) piano", **options) for model in models)
        assert difference(first, second) < EQUAL


def published_context(model: Model, prompt: str, length: int) -> np.ndarray:
    """Compute the context of a prompt by the formula of the published MLX runtime, in float64.

    Spans are counted in tokens of the prefixes of the text, a space before a phrase or at its end left out; a token e
    of a span becomes p + w (e - p), where p is the embedding of padding.
    """
    group = re.compile(r"\(([^():]+):([+-]?\d+(?:\.\d+)?)\)")
    text, spans = "", []
    for part in re.split(r"(\([^()]*\))", prompt):
        found = group.fullmatch(part)
        if found:
            spans.append((len(text), len(text) + len(found[1]), float(found[2])))
        text += found[1] if found else part
    tokens = model.tokenizer([text], length)
    embedded = model.engine.numpy(model.engine.encode_text(tokens.ids, tokens.mask))[0].astype(np.float64)
    padding = dict(model.checkpoint.component(CONDITIONER_PREFIX))["prompt.padding_embedding"].numpy()
    for start, end, weight in spans:
        first, last = start - text[:start].endswith(" "), end - text[:end].endswith(" ")
        before, through = (int(model.tokenizer([text[:place]], length).mask.sum()) for place in (first, last))
        embedded[before:through] = padding + weight * (embedded[before:through] - padding)
    return np.where(tokens.mask[0][:, None], embedded, padding)


@pytest.mark.parametrize(
    "prompt",
    [
        "(warm piano:1.3), rain",
        "a (driving pulse:2) and (rain:0.3) in a room",
        "rain and (rain:2) again",
        "a (piano :1.7) and silence",
        "(low end:-1), (air:0)",
        "plain text (in parentheses)",
    ],
)
@pytest.mark.parametrize("style", ["nested", "flat"])
def test_weighted_contexts_equal_the_published_formula(model: Model, prompt: str, style: Any) -> None:
    length = 24
    encoded = PromptTokens.of([prompt], model.tokenizer, length, style).encode(model.engine)
    context, _ = encoded.embed(model.engine, np.array([2.0], dtype=np.float32))
    found = model.engine.numpy(context)[0, :-1]  # the duration is last
    np.testing.assert_allclose(found, published_context(model, prompt, length), atol=2e-5)


def test_published_systems_keep_their_parsing(torch_model: Model) -> None:
    """The package has no weights; its MLX runtime parses no nesting and no escapes."""
    package, runtime = (Compat.named(name) for name in ("stable-audio-3", "mlx"))
    assert (package.weights, runtime.weights, Compat().weights) == ("none", "flat", "nested")
    assert {"soundloom", "stable-audio-3", "stable-audio-3-cpu", "mlx"} == set(COMPAT)
    literal = render(torch_model, r"\(warm:1.5\) piano")
    assert np.array_equal(render(torch_model, "(warm:1.5) piano", compat=Compat(weights="none")), literal)
    assert difference(render(torch_model, "(warm:1.5) piano", compat=Compat(weights="flat")), literal) > CHANGED
    for compat in (package, runtime):
        assert difference(render(torch_model, A, compat=compat, prompt_b=B), render(torch_model, A, compat=compat)) > 0


@pytest.mark.parametrize("guidance", [{}, GUIDED], ids=["plain", "guided"])
@pytest.mark.parametrize("mix", [0.3, CURVE], ids=["number", "curve"])
def test_clips_of_a_batch_are_as_if_alone(model: Model, guidance: dict[str, Any], mix: Any) -> None:
    requests = [
        request(),
        request("(warm:1.5) piano", seed=6),
        request("(kick:0.5)", prompt_b=B, mix=mix, seed=7),
        request(prompt_b=B, mix=1, seed=8),
        request(prompt_b="rain", mix=[(0, 1), (0.4, 0.2)], seed=9),
    ]
    requests = [replace(one, **guidance) for one in requests]
    for one, clip in zip(requests, model.run(requests), strict=True):
        (alone,) = model.run([one])
        assert difference(clip.audio, alone.audio) < EQUAL


def test_a_crossfade_of_equal_prompts_is_that_prompt(model: Model) -> None:
    for options in ({}, GUIDED):
        assert difference(render(model, A, prompt_b=A, mix=CURVE, **options), render(model, A, **options)) < EQUAL


def test_the_shares_of_frames_follow_the_curve_in_seconds_of_the_clip(torch_model: Model) -> None:
    ratio, rate = torch_model.config.same.downsampling_ratio, torch_model.sample_rate
    (clip,) = torch_model.plan([request(prompt_b=B, mix=[(0.2, 0.25), (0.4, 0.75)])]).clips
    one = replace(plan_pass(clip, torch_model.config), start=0.1)
    times = frame_times(one, 4, ratio / rate)
    assert times == pytest.approx([0.1 + (i + 0.5) * ratio / rate for i in range(4)])
    shares = shares_at(((0.2, 0.25), (0.4, 0.75)), np.array([0, 0.2, 0.3, 0.4, 9]))
    assert shares.tolist() == pytest.approx([0.25, 0.25, 0.5, 0.75, 0.75])


def test_the_shares_of_a_loop_wrap_around_with_its_seam(torch_model: Model) -> None:
    blend = {"prompt_b": B, "mix": [(0, 0), (1, 1)], "seconds": 1.0, "loop": True}
    (clip,) = torch_model.plan([request(**blend)]).clips
    seam = plan_pass(clip, torch_model.config, 1)
    times = frame_times(seam, 20, 0.05)
    assert seam.start > 0
    assert times[0] == pytest.approx(seam.start + 0.025)
    assert (times < 1).all()
    assert (np.diff(times) < 0).sum() == 1
    assert render(torch_model, A, **blend).shape == (2, 44100)


def test_edits_take_blends_and_keep_their_samples(model: Model) -> None:
    options = {"steps": 2, "seed": 3, "duration_padding": 0.0}
    source = model.generate(A, seconds=0.6, **options)
    for blend in ({"prompt_b": B, "mix": 0.4}, {"prompt_b": B, "mix": [(0.2, 0), (0.5, 1)]}):
        varied = model.vary(source, A, noise=0.7, **blend, **options)
        assert difference(varied.audio, model.vary(source, A, noise=0.7, **options).audio) > CHANGED
        fixed = model.inpaint(source, [(0.2, 0.4)], A, **blend, **options)
        start, end = (round(seconds * source.sample_rate) for seconds in (0.2, 0.4))
        assert np.array_equal(fixed.audio[:, :start], source.audio[:, :start])
        assert np.array_equal(fixed.audio[:, end:], source.audio[:, end:])
        longer = model.extend(source, 0.3, A, **blend, **options)
        assert np.array_equal(longer.audio[:, : source.samples], source.audio)
        assert longer.record["request"]["prompt_b"] == B


def test_an_edit_without_a_prompt_takes_both_prompts_of_its_source(torch_model: Model) -> None:
    source = torch_model.generate(f"(warm:1.2) {A}", prompt_b=B, mix=0.3, seconds=0.3, steps=2, seed=1)
    recorded = torch_model.vary(source, steps=2).record["request"]
    assert {name: recorded[name] for name in ("prompt", "prompt_b", "mix")} == {
        "prompt": f"(warm:1.2) {A}",
        "prompt_b": B,
        "mix": 0.3,
    }
    other = torch_model.vary(source, prompt_b="rain", steps=2).record["request"]
    assert (other["prompt_b"], other["mix"]) == ("rain", 0.5)
    assert "prompt_b" not in torch_model.vary(source, prompt_b=None, steps=2).record["request"]
    assert "prompt_b" not in torch_model.vary(source, "rain", steps=2).record["request"]


def test_a_list_of_prompts_takes_a_list_of_second_ones(torch_model: Model) -> None:
    clips = torch_model.generate([A, B], prompt_b=["rain", None], mix=0.2, seconds=0.3, steps=2, seed=1)
    assert [clip.record["request"].get("mix") for clip in clips] == [0.2, None]
    with pytest.raises(RequestError, match="2 prompts were given and 1 values of prompt_b"):
        torch_model.generate([A, B], prompt_b=["rain"])


def test_blends_are_captured_in_cuda_graphs(tiny_model_folder: Path) -> None:
    """Without a GPU, a replay runs its program again on its fixed buffers."""
    plain, capturing = (
        load(tiny_model_folder, engine="torch", device="cpu", precision="fp32", keep_loaded=True) for _ in range(2)
    )
    capturing.engine.graphs = GraphCache()
    kinds = ({}, {"prompt_b": B, "mix": 0.4}, {"prompt_b": B, "mix": CURVE}, {"prompt_b": B, "mix": CURVE, **GUIDED})
    for options in kinds:
        for seed, prompt in ((1, A), (2, "(rain:1.5)")):
            found = [render(model, prompt, seed=seed, **options) for model in (plain, capturing)]
            np.testing.assert_allclose(found[1], found[0], atol=2e-4 * np.abs(found[0]).max())
    # A blend by a number is another context of the same graph.
    assert len([key for key in capturing.engine.graphs.captured if key[0] != "text"]) == 3


def test_blends_work_with_adapters(torch_model: Model, tmp_path: Path) -> None:
    shapes, weights = module_shapes(torch_model.config), base_weights(torch_model.checkpoint)
    file = tmp_path / "adapter.safetensors"
    adapter = make_adapter(shapes, "lora", 1, ("core", "embeds", "local", "seconds"), weights=weights)
    write_adapter(file, adapter, dtype="F32")
    for mix in (0.4, CURVE):
        blend = {"prompt_b": B, "mix": mix, "seconds": 0.3, "seed": 4, "steps": 3}
        adapted = torch_model.generate(A, loras={str(file): 1.0}, **blend)
        assert difference(adapted.audio, torch_model.generate(A, **blend).audio) > CHANGED


def test_a_curve_beyond_the_clip_is_a_warning(torch_model: Model) -> None:
    clip = torch_model.generate(A, prompt_b=B, mix=[(0, 0), (2, 1)], seconds=0.3, steps=2, seed=1)
    assert "the mix curve has points after the clip's end at 0.3 s: up to 2 s" in clip.record["warnings"]


def test_batches_of_equal_tokens_and_other_weights_share_no_embeddings(model: Model) -> None:
    requests = [request("(warm:1.5) piano"), request("warm piano", seconds=0.5), request("(warm:0) piano", seconds=0.7)]
    for one, clip in zip(requests, model.run(requests), strict=True):
        assert difference(clip.audio, model.run([one])[0].audio) < EQUAL


class AveragingEngine:
    """An engine whose velocity is the mean of each item's context."""

    calls = 0

    def concatenate(self, parts: Any) -> np.ndarray:
        return np.concatenate(parts)

    def condition(self, context: np.ndarray, *rest: Any) -> np.ndarray:
        return context.mean(axis=(1, 2))[:, None, None]

    def velocity(self, x: np.ndarray, t: Any, condition: np.ndarray, *rest: Any) -> np.ndarray:
        self.calls += 1
        return np.broadcast_to(condition, x.shape)


def test_a_curve_crossfades_two_velocities_frame_by_frame_in_one_call(torch_model: Model) -> None:
    guidance = Guidance(3.0, apg=0)
    requests = [request(prompt_b=B, mix=CURVE, guidance=guidance), request(prompt_b=B, mix=CURVE, guidance=guidance)]
    clips = torch_model.plan(requests).clips
    (batch,) = make_batches([plan_pass(clip, torch_model.config) for clip in clips], torch_model.config)
    first, second, unguided = (
        np.full((2, 3, 4), value) * np.array([1, 10])[:, None, None] for value in (1.0, 5.0, 2.0)
    )
    shares = np.array([[[0, 0.25, 1]], [[1, 0.5, 0]]])
    given = Embeddings(first, first[:, 0], unguided, np.zeros((1, 1, 1)), second=second, frame_shares=shares)
    x, engine = np.zeros((2, 1, 3)), AveragingEngine()
    mixed = np.array([[[1, 2, 5]], [[50, 30, 10]]])
    for guided in (False, True):
        field = VelocityField(engine, batch, given, lambda: None, is_guided_at=lambda t, guided=guided: guided)
        unguided_velocity = np.array([2, 20])[:, None, None]
        expected = unguided_velocity + 3.0 * (mixed - unguided_velocity) if guided else mixed
        np.testing.assert_allclose(field(x, 0.5), expected)
    assert engine.calls == 2
