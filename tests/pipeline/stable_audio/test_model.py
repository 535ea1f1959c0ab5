import math
import sys
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from soundloom import Clip, Compat, GenerationRequest, Guidance, load
from soundloom.errors import Canceled, EngineError, OutputError, RequestError
from soundloom.pipeline.progress import host_peak
from soundloom.pipeline.stable_audio import executor


def generate(model, prompt="rain", **options):
    return model.generate(prompt, **{"seconds": 1.0, "seed": 7, "steps": 3} | options)


def test_a_seed_repeats_and_another_differs(tiny_model):
    first, again, other = (generate(tiny_model, seed=seed).audio for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.01
    assert first.shape == (2, 44100)


def test_a_batch_equals_single_clips(tiny_model):
    prompts, seconds, seeds = ["rain", "a bell", "rain", "wind"], [1.0, 1.0, 1.7, 1.0], [7, 8, 9, 10]
    clips = generate(tiny_model, prompts, seconds=seconds, seed=seeds)
    for clip, prompt, length, seed in zip(clips, prompts, seconds, seeds, strict=True):
        alone = generate(tiny_model, prompt, seconds=length, seed=seed)
        assert clip.audio.shape == alone.audio.shape
        assert np.abs(clip.audio - alone.audio).max() < 1e-4
        assert clip.record["request"]["seed"] == seed


@pytest.mark.parametrize("seconds", [0.5, 4, 5.8])
def test_a_clip_of_mini_is_the_same_to_the_bit_alone_and_in_a_batch(seconds):
    model = load("mini", device="cpu", keep_bad=True)  # the longer prompt is beyond what it knows
    longer = ", ".join(["rain and wind and a bell"] * 6)  # more words than the model reads
    prompts = [longer, "rock drum loop, 129 BPM", "bell, A4"]
    alone = model.generate("bell, A4", seconds=seconds, seed=7).audio
    for count in (2, 3):
        clips = model.generate(prompts[-count:], seconds=seconds, seed=[8, 9, 7][-count:])
        assert np.array_equal(clips[-1].audio, alone)


def test_single_pass_and_chunked_decoding_agree(tiny_model, monkeypatch):
    full = generate(tiny_model, seconds=14.0)
    monkeypatch.setattr("soundloom.pipeline.stable_audio.chunks.CHUNK", 16)
    assert np.abs(generate(tiny_model, seconds=14.0).audio - full.audio).max() < 1e-4


def test_one_seed_counts_up_through_a_batch(tiny_model):
    clips = generate(tiny_model, ["rain", "rain"], seed=7)
    assert [clip.record["seed"] for clip in clips] == [7, 8]
    assert np.abs(clips[0].audio - clips[1].audio).max() > 0.01


def test_published_codec_noise_is_small_and_deterministic(tiny_model):
    noisy = [generate(tiny_model, compat=Compat(codec_noise=True)).audio for _ in range(2)]
    plain = generate(tiny_model).audio
    assert noisy[0].tobytes() == noisy[1].tobytes()
    assert 0 < np.abs(noisy[0] - plain).max() < 0.2 * np.abs(plain).max()


@pytest.mark.parametrize("name", ["stable-audio-3", "stable-audio-3-cpu", "mlx"])
def test_published_behaviors_generate_and_edit(tiny_model, name):
    clip = generate(tiny_model, compat=name)
    assert clip.samples == 44100
    assert tiny_model.vary(clip, "x", noise=0.5, seed=1, compat=name).samples == 44100
    assert tiny_model.inpaint(clip, [(0.2, 0.5)], "x", seed=1, compat=name).samples == 44100


def test_guidance_and_negative_prompts_change_the_sound(tiny_model):
    plain = generate(tiny_model).audio
    guided = generate(tiny_model, guidance=3.0).audio
    negative = generate(tiny_model, guidance=3.0, negative_prompt="drums").audio
    assert np.abs(plain - guided).max() > 0.001
    assert np.abs(guided - negative).max() > 0.001


def test_numpy_numbers_are_accepted_and_recorded(tiny_model, tmp_path):
    options = {"seconds": np.float32(0.5), "seed": np.int64(7), "steps": np.int64(1), "guidance": np.float32(2)}
    alone, first = generate(tiny_model, **options), generate(tiny_model, ["rain", "wind"], **options)[0]
    saved = Clip.load(alone.save(tmp_path / "rain.wav")).record["request"]
    assert (saved["seed"], saved["steps"], saved["guidance"]) == (7, 1, {"scale": 2.0})
    assert first.record["request"] == alone.record["request"]


def test_a_batch_may_mix_items_with_and_without_negative_prompts(tiny_model):
    clips = generate(tiny_model, ["rain", "rain"], seed=[7, 7], guidance=2.0, negative_prompt=[None, "drums"])
    for clip, negative in zip(clips, [None, "drums"], strict=True):
        alone = generate(tiny_model, guidance=2.0, negative_prompt=negative)
        assert np.abs(clip.audio - alone.audio).max() < 1e-4


@pytest.mark.parametrize("sampler", ["pingpong", "euler", "heun", "rk4", "dpmpp", "dpmpp-3m-sde"])
def test_every_sampler_generates_finite_audio(tiny_model, sampler):
    assert np.isfinite(generate(tiny_model, sampler=sampler).audio).all()


def test_progress_reports_stages_steps_and_memory(tiny_model):
    events = []
    generate(tiny_model, steps=4, progress=events.append)
    finished = [event for event in events if event.finished]
    assert [event.stage for event in finished] == ["text", "sample", "decode"]
    assert all(event.host_bytes > 0 and event.seconds >= 0 for event in finished)
    assert [e.step for e in events if e.stage == "sample" and not e.finished] == [0, 1, 2, 3, 4]


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is unknown on Windows")
def test_generating_does_not_lower_the_peak_memory_that_the_system_reports(tiny_model):
    np.ones(200 * 2**20, np.uint8)  # freed at once
    before, events = host_peak(), []
    generate(tiny_model, progress=events.append)
    assert before > 200 * 2**20
    assert all(event.host_bytes >= before for event in events if event.finished)


def test_cancel_stops_between_steps(tiny_model):
    cancel, seen = Event(), []

    def listen(event):
        seen.append(event)
        if event.stage == "sample" and event.step == 2:
            cancel.set()

    with pytest.raises(Canceled):
        generate(tiny_model, steps=8, progress=listen, cancel=cancel)
    assert max(event.step for event in seen if event.stage == "sample") == 2


def test_networks_are_freed_unless_keep_loaded(tiny_model_folder):
    model = load(tiny_model_folder)
    generate(model)
    assert not model.engine._modules
    resident = load(tiny_model_folder, keep_loaded=True)
    generate(resident)
    assert set(resident.engine._modules) == {"text", "conditioner", "dit", "decoder"}


def canceled():
    cancel = Event()
    cancel.set()
    return cancel


@pytest.mark.parametrize("seconds", [1.0, 130.0], ids=["one pass", "several"])
def test_networks_are_freed_on_cancel(tiny_model_folder, seconds):
    model, clip = load(tiny_model_folder), Clip(np.full((1, 44100), 0.1, np.float32), 44100)
    for component in ("text", "conditioner", "dit", "encoder", "decoder"):
        model.engine.load(component)
    with pytest.raises(Canceled):
        model.extend(clip, seconds, steps=1, cancel=canceled())
    assert not model.engine._modules


def test_the_autoencoder_is_freed_on_errors_and_early_stops(tiny_model_folder, monkeypatch):
    model, latents = load(tiny_model_folder), np.zeros((256, 300), np.float32)
    pieces = model.decode_stream(latents)
    next(pieces)
    assert set(model.engine._modules) == {"decoder"}
    pieces.close()
    assert not model.engine._modules
    monkeypatch.setattr(model.engine.module("decoder"), "decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.decode(latents)
    assert not model.engine._modules


def test_a_record_repeats_its_clip(tiny_model):
    clip = generate(tiny_model, seed=None, guidance=Guidance(2.0, interval=(0.1, 0.9)))
    request = GenerationRequest.from_record(clip.record["request"])
    assert tiny_model.run([request])[0].audio.tobytes() == clip.audio.tobytes()


def test_a_record_repeats_an_edit_given_its_source(tiny_model):
    clip = generate(tiny_model)
    edit = tiny_model.inpaint(clip, [(0.2, 0.4)], "a bell", crossfade=0.002)
    request = GenerationRequest.from_record(edit.record["request"], source=clip)
    assert tiny_model.run([request])[0].audio.tobytes() == edit.audio.tobytes()


def test_a_long_prompt_is_truncated_with_a_warning(tiny_model):
    clip = generate(tiny_model, "rain on the roof " * 200)
    (warning,) = [w for w in clip.record["warnings"] if "256 tokens" in w]
    assert "roof" in warning


def test_guidance_on_a_distilled_model_warns(tiny_model):
    assert any("distilled" in w for w in generate(tiny_model, guidance=2.0).record["warnings"])
    assert any("negative" in w for w in generate(tiny_model, negative_prompt="x").record["warnings"])
    assert any("guidance settings" in w for w in generate(tiny_model, guidance=Guidance(apg=0.5)).record["warnings"])


def test_a_long_negative_prompt_is_truncated_with_a_warning(tiny_model):
    (cut,) = generate(tiny_model, guidance=2.0, negative_prompt="drum loop " * 300).record["warnings"][-2:-1]
    assert "longer than 256 tokens" in cut and "drum loop" in cut


def test_a_warning_about_all_clips_of_a_batch_is_logged_once(tiny_model, caplog):
    clips = generate(tiny_model, ["rain", "a bell"], guidance=2.0)
    said = [record.message for record in caplog.records if "distilled" in record.message]
    assert all(said[0] in clip.record["warnings"] for clip in clips)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "finite|numbers"), (0.0, "silent|silence")], ids=["nan", "silence"]
)
def test_unusable_audio_raises_an_error(tiny_model, monkeypatch, value, message):
    original = executor.decode_latents

    def broken(*args):
        return np.full_like(original(*args), value)

    monkeypatch.setattr(executor, "decode_latents", broken)
    with pytest.raises(OutputError, match=message):
        generate(tiny_model)


def test_unusable_clips_of_several_have_errors_of_their_own(tiny_model, monkeypatch):
    original = executor.decode_latents

    def broken(*args):
        audio = original(*args).copy()
        audio[1::2] = math.nan
        return audio

    monkeypatch.setattr(executor, "decode_latents", broken)
    found = tiny_model.iter([GenerationRequest("rain", seconds=1.0, seed=seed, steps=2) for seed in (3, 4, 5, 6)])
    assert [next(found)[0] for _ in range(2)] == [0, 2]
    with pytest.raises(OutputError, match="seed 4") as failure:
        next(found)
    assert {index: "seed 6" in str(error) for index, error in failure.value.errors.items()} == {1: False, 3: True}


def test_latents_are_encoded_and_decoded(tiny_model):
    clip = Clip(np.random.default_rng(0).uniform(-0.2, 0.2, (1, 30000)).astype(np.float32), 22050)
    latents = tiny_model.encode(clip)
    assert latents.shape == (256, 16)  # 60000 samples at 44100 Hz are 14.6 frames, rounded up to pairs
    sound = tiny_model.decode(latents, samples=60000)
    assert sound.audio.shape == (2, 60000)
    streamed = np.concatenate(list(tiny_model.decode_stream(latents)), axis=1)
    assert (streamed[:, :60000] == sound.audio).all()


@pytest.mark.parametrize("latents", [np.zeros((5, 8)), np.zeros((256, 0)), np.full((256, 4), np.nan)])
def test_invalid_latents_are_rejected(tiny_model, latents):
    with pytest.raises(RequestError):
        tiny_model.decode(latents)


def test_surround_and_very_short_sources_are_edited(tiny_model):
    """Edit six channels, and a clip far shorter than a latent frame."""
    surround = Clip(np.random.default_rng(0).uniform(-0.2, 0.2, (6, 44100)).astype(np.float32), 44100)
    out = tiny_model.inpaint(surround, [(0.2, 0.4)], "x", seed=1)
    assert out.channels == 2
    assert (out.audio[:, :8820] == surround.audio[:2, :8820]).all()
    blip = Clip(np.random.default_rng(0).uniform(-0.2, 0.2, (2, 441)).astype(np.float32), 44100)
    assert tiny_model.vary(blip, "x", noise=0.5, seed=1).samples == 441


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": math.nan},
        {"seconds": 500, "compat": "mlx"},
        {"steps": 0},
        {"sampler": "ddim"},
        {"seed": -1},
    ],
)
def test_invalid_values_are_rejected_before_weights_are_read(tiny_model_folder, options):
    model = load(tiny_model_folder)
    with pytest.raises(RequestError):
        generate(model, **options)
    assert not model.engine._modules


def test_lists_of_different_lengths_are_rejected(tiny_model):
    with pytest.raises(RequestError, match="2 prompts"):
        generate(tiny_model, ["a", "b"], seconds=[1, 2, 3])


def test_an_autoencoder_encodes_and_cannot_generate(tiny_model):
    from soundloom.config.catalogue import require_entry

    config = replace(require_entry("same-s").parsed_config(), model=tiny_model.config.same)
    only = replace(tiny_model.checkpoint, config=config, name="same-s")
    from soundloom.engines.registry import engine_class
    from soundloom.pipeline.stable_audio.model import Model

    model = Model(only, engine_class("auto")(only))
    clip = Clip(np.random.default_rng(0).uniform(-0.2, 0.2, (2, 8192)).astype(np.float32), 44100)
    np.testing.assert_array_equal(model.encode(clip), tiny_model.encode(clip))
    with pytest.raises(EngineError, match="cannot generate"):
        generate(model)
