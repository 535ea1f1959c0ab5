"""`soundloom train`: every stage of a tiny recipe, stopped, resumed, exported and opened."""

import json
import shutil
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.cli.main import main
from soundloom.training.init.pretrained import PretrainedModel
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.logging import read_log
from soundloom.training.recipe import Recipe
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.context import StableAudioContext
from soundloom.training.stages.registry import STAGES
from tests.training.objectives.test_clap import write_clap
from tests.training.tiny_recipe import CONFIGS, SHORT_LOOP, write_recipe

STABLE_AUDIO = tuple(spec.name for spec in STAGES.values() if spec.family == "stable_audio")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a recipe, its finished run and the exported model."""
    folder = tmp_path_factory.mktemp("recipe")
    write_recipe(folder / "recipe", CONFIGS)
    for stage in STABLE_AUDIO:
        assert train(folder, stage) == 0
    assert train(folder, "export", "--out", str(folder / "model")) == 0
    return folder


def train(folder, stage, *flags, run_dir="work") -> int:
    common = ["--work", str(folder / run_dir), "--device", "cpu", "--quiet"]
    return main(["train", stage, str(folder / "recipe"), *common, *map(str, flags)])


@pytest.fixture
def copy(made, tmp_path):
    """A copy that tests may change."""
    return shutil.copytree(made, tmp_path / "copy")


def test_the_model_opens_strictly_and_is_finite(made):
    checkpoint = open_checkpoint(made / "model")
    assert checkpoint.layout == "published"
    assert checkpoint.text_encoder is not None
    assert verify(checkpoint).ok


def test_the_model_generates(made):
    from soundloom import load

    clip = load(made / "model").generate("a tone", seconds=0.05, seed=1, duration_padding=0.0, steps=2)
    assert clip.audio.shape == (2, 2205)
    assert np.isfinite(clip.audio).all()


def test_exported_weights_equal_trained_ones(made):
    stored = open_checkpoint(made / "model").tensors["pretransform.model.decoder.layers.1.weight"].numpy()
    trained = torch.load(made / "work" / "autoencoder" / "trained.pt", weights_only=True)["decoder.layers.1.weight"]
    np.testing.assert_array_equal(stored, trained.half().numpy())


def test_latents_have_unit_variance(made):
    with np.load(made / "work" / "latents.npz") as data:
        assert data["frames"].astype(np.float32).std() == pytest.approx(1, abs=0.05)


def test_an_exported_model_has_its_sounds_file(made):
    assert (made / "model" / "sounds.toml").read_bytes() == (made / "recipe" / "dit_sounds.toml").read_bytes()


def test_the_generator_starts_from_the_pretrained_text_encoder(copy):
    assert train(copy, "dit", "--restart", "--set", "loop.steps=0") == 0
    trained, initial = (
        torch.load(copy / "work" / stage / "trained.pt", weights_only=True) for stage in ("text", "dit")
    )
    for name, weight in trained.items():
        torch.testing.assert_close(initial[f"text.{name}"], weight, rtol=0, atol=0)


def test_an_exported_model_records_the_lengths_of_its_clips(made):
    low, high = open_checkpoint(made / "model").config.trained_seconds
    assert 0 < low <= high < 100


def test_an_export_needs_no_latents(copy, made, capsys):
    lengths = open_checkpoint(made / "model").config.trained_seconds
    (copy / "work" / "latents.npz").unlink()
    assert train(copy, "export", "--out", copy / "model") == 0
    assert open_checkpoint(copy / "model").config.training["clip_seconds"] == list(lengths)
    stored = copy / "work" / "dit" / "lengths.json"
    stored.write_text('{"clip_seconds": [3, "a"]}')
    assert train(copy, "export", "--out", copy / "model") == 1
    assert "lengths.json cannot be read" in capsys.readouterr().err
    stored.unlink()
    assert train(copy, "export", "--out", copy / "model") == 1
    assert "lengths.json is missing" in capsys.readouterr().err


def test_an_earlier_stage_can_be_exported(copy):
    assert train(copy, "export", "--out", copy / "flow", "--result-of", "dit") == 0
    assert open_checkpoint(copy / "flow").fingerprint != open_checkpoint(copy / "model").fingerprint


def test_a_failed_export_preserves_the_previous_model(copy, monkeypatch, capsys):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("soundloom.training.stages.export.save_checkpoint", fail)
    before = open_checkpoint(copy / "model").fingerprint
    assert train(copy, "export", "--out", copy / "model") == 1
    assert "disk full" in capsys.readouterr().err
    assert open_checkpoint(copy / "model").fingerprint == before
    assert sorted(path.name for path in copy.iterdir()) == ["model", "recipe", "work"]


def test_a_stage_that_was_stopped_resumes_to_the_same_bits(copy, made):
    path = copy / "work" / "dit" / "trained.pt"
    assert train(copy, "dit", "--restart", "--minutes", 1e-9) == 3
    assert not path.exists()
    assert train(copy, "dit", "--resume") == 0
    assert_same(path, made / "work" / "dit" / "trained.pt")


def test_a_finished_stage_is_unfinished_when_stopped_with_new_settings(copy):
    more = "--set", "loop.steps=5"
    assert train(copy, "dit", *more, "--minutes", 1e-9) == 3
    assert not (copy / "work" / "dit" / "trained.pt").exists()
    assert train(copy, "dit", *more) == 0
    assert [record["step"] for record in read_log(copy / "work" / "dit")] == [1, 2, 3, 4, 5]


def test_other_sounds_are_encoded_again(copy):
    path, old = copy / "recipe" / "dit_sounds.toml", (copy / "work" / "latents.npz").read_bytes()
    assert train(copy, "encode") == 0
    assert (copy / "work" / "latents.npz").read_bytes() == old
    path.write_text("seed = 3\n" + path.read_text())
    assert train(copy, "encode") == 0
    assert (copy / "work" / "latents.npz").read_bytes() != old


@pytest.mark.parametrize("kind", ["file", "other", "here"])
def test_an_export_replaces_only_models(copy, monkeypatch, capsys, kind):
    out = copy / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "other":
        (out / "songs").mkdir(parents=True)
    else:
        out.mkdir()
        monkeypatch.chdir(out)
    before = sorted(copy.rglob("*"))
    assert train(copy, "export", "--out", "." if kind == "here" else out) == 2
    assert {"file": "is a file", "other": "would be lost", "here": "current folder"}[kind] in capsys.readouterr().err
    assert sorted(copy.rglob("*")) == before


def test_a_restart_that_cannot_start_discards_nothing(copy):
    assert train(copy, "dit", "--restart", "--from", "absent") == 2
    assert train(copy, "dit", "--restart", "--set", "loop.stps=3") == 1
    assert train(copy, "dit", "--restart", "--set", 'families=["choir"]') == 1
    assert (copy / "work" / "dit" / "trained.pt").exists()


def test_more_steps_resume_a_finished_stage(copy):
    assert train(copy, "dit", "--set", "loop.steps=5") == 0
    assert [record["step"] for record in read_log(copy / "work" / "dit")] == [1, 2, 3, 4, 5]


def test_a_stage_restarts_when_the_one_that_it_starts_from_is_trained_again(copy):
    assert train(copy, "distill") == 0
    path = copy / "work" / "distill" / "trained.pt"
    before = torch.load(path, weights_only=True)
    assert train(copy, "dit", "--set", "loop.steps=5", "--set", "loop.learning_rate=0.1") == 0
    assert train(copy, "distill") == 0
    steps = [record["step"] for record in read_log(copy / "work" / "distill")]
    assert steps == list(range(1, SHORT_LOOP["steps"] + 1))
    assert any(not torch.equal(value, before[name]) for name, value in torch.load(path, weights_only=True).items())


def test_a_stage_older_than_its_data_logs_a_warning(copy, caplog):
    assert train(copy, "dit") == 0
    assert "older" not in caplog.text
    assert train(copy, "encode", "--restart") == 0
    assert train(copy, "dit") == 0
    assert "dit is older than the results of encode" in caplog.text


def test_a_finished_stage_is_not_trained_again(copy):
    path = copy / "work" / "dit" / "trained.pt"
    before = path.stat().st_mtime_ns
    assert train(copy, "dit") == 0
    assert path.stat().st_mtime_ns == before


def test_recomputation_and_precision_change_only_rounding(copy, made):
    assert train(copy, "dit", "--restart", "--recompute") == 0
    assert_same(copy / "work" / "dit" / "trained.pt", made / "work" / "dit" / "trained.pt", 1e-6)
    assert train(copy, "dit", "--restart", "--precision", "bf16") == 0
    assert_same(copy / "work" / "dit" / "trained.pt", made / "work" / "dit" / "trained.pt", 2e-2)


def test_fine_tuning_starts_from_the_weights_of_a_model(made, tmp_path, capsys):
    write_recipe(tmp_path / "recipe", {name: CONFIGS[name] for name in ("dit_sounds", "dit")})
    changes = "loop.learning_rate=1e-9", "loop.final_learning_rate=0.0", 'loop.frozen=["text."]'
    slow = [flag for change in changes for flag in ("--set", change)]
    assert train(tmp_path, "encode", "--from", made / "model") == 0
    assert train(tmp_path, "dit", *slow) == 0  # the run records the model
    assert train(tmp_path, "export", "--out", tmp_path / "model") == 0
    old, new = (open_checkpoint(folder / "model") for folder in (made, tmp_path))
    for name, tensor in old.tensors.items():
        np.testing.assert_allclose(new.tensors[name].numpy(), tensor.numpy(), atol=1e-5, err_msg=name)
    assert train(tmp_path, "text") == 2
    assert "is for models from scratch" in capsys.readouterr().err
    assert train(tmp_path, "dit", "--from", "mini") == 1
    assert "started from" in capsys.readouterr().err


@pytest.mark.parametrize("decoder_only", ["true", "false"])
def test_training_the_decoder_alone_preserves_the_scale_of_the_latents(made, tmp_path, decoder_only):
    write_recipe(tmp_path / "recipe", {name: CONFIGS[name] for name in ("sounds", "dit_sounds", "autoencoder", "dit")})
    flags = ("--set", f"decoder_only={decoder_only}", "--set", "loop.steps=1")
    assert train(tmp_path, "autoencoder", "--from", made / "model", *flags) == 0
    name = "bottleneck.running_std"
    pretrained = open_checkpoint(made / "model").tensors[f"pretransform.model.{name}"].numpy()
    trained = torch.load(tmp_path / "work" / "autoencoder" / "trained.pt", weights_only=True)[name]
    assert np.allclose(trained, pretrained, rtol=1e-3) == (decoder_only == "true")


def test_clap_may_score_post_training(copy):
    pytest.importorskip("transformers")
    write_clap(copy / "clap")
    changes = "--set", "scorer.clap=../clap", "--set", "text_alignment=0.5"
    assert train(copy, "post", "--restart", *changes) == 0
    logged = set().union(*read_log(copy / "work" / "post"))
    assert "text_alignment" in logged
    assert "critic" not in logged
    assert train(copy, "post", "--restart", "--set", "scorer.clap=absent", "--set", "text_alignment=0.5") == 1


def test_previews_are_logged_as_audio_and_images(made):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for stage in ("autoencoder", "dit", "distill", "post"):
        events = EventAccumulator(str(made / "work" / "tensorboard" / stage))
        events.Reload()
        tags = events.Tags()
        assert {"loss", "learning rate", "seconds per step"} <= set(tags["scalars"])
        assert events.Scalars("loss")[-1].step == SHORT_LOOP["steps"]
        assert tags["audio"] and tags["audio"] == tags["images"]
        assert events.Audio(tags["audio"][0])[0].sample_rate == 44100


# Invalid requests


def test_two_runs_in_one_folder_are_rejected(copy, capsys):
    pytest.importorskip("fcntl", reason="needs POSIX locks")
    with RunDirectory(copy / "work").locked():
        assert train(copy, "dit", "--restart") == 1
        assert f"another run is using {copy / 'work'}" in capsys.readouterr().err
        assert (copy / "work" / "dit" / "trained.pt").exists()
        assert train(copy, "export", "--out", copy / "again") == 0
    assert train(copy, "dit") == 0


@pytest.mark.parametrize(
    ("stage", "flags", "sentence"),
    [
        ("dit", ["--set", "loop.stepps=3"], "did you mean 'steps'?"),
        ("dit", ["--set", "loop"], "not of the form KEY=VALUE"),
        ("dit", ["--set", "loop.steps=many"], "loop.steps must be an integer"),
        ("text", ["--set", "components=0"], "components must be between 1 and"),
        ("text", ["--set", "frames=[-1]"], "frames[0] must be between 0 and"),
        ("autoencoder", ["--set", "batch_size=0"], "batch_size must be between 1 and 65536, found 0"),
        ("dit", ["--set", "batch_size=0"], "batch_size must be between 1 and 65536, found 0"),
        ("dit", ["--set", "loop.steps=-5"], "loop.steps must be between 0 and 1000000000, found -5"),
        ("distill", ["--set", "refresh_every=0"], "refresh_every must be between 1 and 1000000000, found 0"),
        ("post", ["--set", "discriminator_layers=[9]"], "discriminator_layers must be between 0 and"),
        ("dit", ["--set", 'loop.frozen=["texts."]'], "no weight's name starts with 'texts.', as loop.frozen asks"),
        ("encode", ["--set", "clips=3"], "encode has no TOML file"),
        ("dit", ["--out", "here"], "only export takes --out"),
        ("dit", ["--resume", "--restart"], "contradict"),
        ("dit", ["--minutes", "0"], "above 0"),
        ("dit", ["--shard"], "there is one"),
        ("dit", ["--device", "toaster"], "no device 'toaster'"),
        ("dits", [], "there is no stage 'dits'"),
        ("export", [], "for example --out model"),
    ],
)
def test_an_invalid_request_is_one_sentence(made, capsys, stage, flags, sentence):
    assert train(made, stage, *flags) in (1, 2)
    printed = capsys.readouterr().err
    assert sentence in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("encode", "the stage autoencoder is not finished"),
        ("dit", "tokenizer.model is missing"),
        ("export", "the stage post is not finished"),
    ],
)
def test_a_stage_names_the_missing_result_that_it_needs(made, capsys, stage, sentence):
    flags = ["--out", made / "nothing"] if stage == "export" else []
    assert train(made, stage, *flags, run_dir="empty") == 1
    assert sentence in capsys.readouterr().err


def test_resume_without_a_run_fails(made, capsys):
    assert train(made, "dit", "--resume", run_dir="empty") == 2
    assert "no dit run" in capsys.readouterr().err


def test_a_run_of_another_model_is_rejected(copy, capsys):
    text = (copy / "recipe" / "model.toml").read_text()
    (copy / "recipe" / "model.toml").write_text(text.replace("num_memory_tokens = 2", "num_memory_tokens = 3"))
    assert train(copy, "dit") == 1
    assert "num_memory_tokens was 2 and is 3" in capsys.readouterr().err


def test_an_unsupported_sample_rate_is_rejected(copy, capsys):
    text = (copy / "recipe" / "model.toml").read_text()
    (copy / "recipe" / "model.toml").write_text(text.replace("sample_rate = 44100", "sample_rate = 22050"))
    assert train(copy, "autoencoder", run_dir="other") == 1
    assert "this one has 22050 Hz" in capsys.readouterr().err


def test_a_tokenizer_of_other_settings_logs_a_warning(copy, caplog):
    assert train(copy, "tokenizer", "--set", "vocabulary_size=70") == 0
    assert "--restart replaces it" in caplog.text


def test_a_damaged_state_is_rejected(copy, capsys):
    state = copy / "work" / "dit" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert train(copy, "dit", "--set", "loop.steps=5") == 1
    assert "it is damaged" in capsys.readouterr().err


def test_a_missing_recipe_is_named(tmp_path, capsys):
    assert train(tmp_path, "dit") == 2
    assert "configs/mini is an example" in capsys.readouterr().err


def test_an_invalid_toml_file_is_named(copy, capsys):
    (copy / "recipe" / "dit.toml").write_text("loop = ")
    assert train(copy, "dit") == 1
    assert "dit.toml as TOML" in capsys.readouterr().err


def assert_same(a, b, tolerance=0.0):
    first, second = (torch.load(path, weights_only=True) for path in (a, b))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=tolerance, rtol=0, msg=lambda text, name=name: name + text)


def test_the_settings_of_a_stage_are_recorded(made):
    settings = json.loads((made / "work" / "dit" / "settings.json").read_text())
    assert settings["loop"]["steps"] == SHORT_LOOP["steps"]


# Datasets


@pytest.fixture
def library(tmp_path):
    """Three captioned sounds of different rates, and one damaged file."""
    folder = tmp_path / "library"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (rate, seconds) in enumerate([(44100, 1.0), (48000, 0.4), (22050, 0.3)]):
        soundfile.write(folder / f"{number}.wav", rng.uniform(-0.5, 0.5, (int(rate * seconds), 1 + number % 2)), rate)
        (folder / f"{number}.txt").write_text(f"noise number {number}\n" * (1 + number))
    (folder / "broken.wav").write_bytes(b"RIFF no")
    return folder


def recipe_of(folder, source, path) -> None:
    configs = {name: table for name, table in CONFIGS.items() if not name.endswith("sounds")}
    configs["tokenizer"] = {"vocabulary_size": 40}
    write_recipe(folder / "recipe", configs | {"data": {"source": source, "path": str(path)}})


def test_a_model_is_trained_on_a_folder_of_sounds(library, tmp_path, capsys):
    recipe_of(tmp_path, "folder", library)
    for stage in ("tokenizer", "autoencoder", "encode", "text", "dit"):
        assert train(tmp_path, stage) == 0, stage
    assert "broken.wav" in capsys.readouterr().err
    assert len(list((tmp_path / "work" / "latents").glob("[0-9]*.npy"))) == 3
    assert train(tmp_path, "export", "--out", tmp_path / "model", "--result-of", "dit") == 0
    assert verify(open_checkpoint(tmp_path / "model")).ok


def test_only_latents_of_existing_and_selected_sounds_are_used(made, library, tmp_path, caplog):
    recipe_of(tmp_path, "folder", library)
    assert train(tmp_path, "encode", "--from", made / "model") == 0
    (library / "0.wav").unlink()
    data = tmp_path / "recipe" / "data.toml"
    data.write_text(data.read_text() + '\n[selection]\ninclude = ["0.wav", "1.*"]\n')
    assert train(tmp_path, "encode") == 0
    assert "1 latents are of sounds that no longer exist" in caplog.text
    recipe, pretrained = Recipe(tmp_path / "recipe"), PretrainedModel(open_checkpoint(made / "model"))
    run_dir = RunDirectory(tmp_path / "work")
    context = StableAudioContext(recipe=recipe, run_dir=run_dir, distributed=Distributed(), pretrained=pretrained)
    assert context.clips().latents.seconds.sum() == pytest.approx(0.4, abs=1e-3)  # of 1.wav, in several windows


def test_a_model_is_fine_tuned_on_shards(made, library, tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for path in sorted(library.glob("[0-9].*")):
            tar.add(path, path.name)
    recipe_of(tmp_path, "webdataset", tmp_path / "0.tar")
    assert train(tmp_path, "encode", "--from", made / "model") == 0
    assert train(tmp_path, "dit") == 0


def test_latents_need_no_encoding(made, library, tmp_path, capsys):
    recipe_of(tmp_path, "folder", library)
    assert train(tmp_path, "encode", "--from", made / "model") == 0
    (tmp_path / "again").mkdir()
    recipe_of(tmp_path / "again", "latents", tmp_path / "work" / "latents")
    assert train(tmp_path / "again", "encode", "--from", made / "model") == 2
    assert "already holds latents" in capsys.readouterr().err
    assert train(tmp_path / "again", "dit") == 0
    assert_same(tmp_path / "again" / "work" / "dit" / "trained.pt", trained_on(tmp_path))


def trained_on(folder):
    assert train(folder, "dit") == 0
    return folder / "work" / "dit" / "trained.pt"


def test_missing_data_is_one_sentence(made, tmp_path, capsys):
    recipe_of(tmp_path, "folder", tmp_path / "nowhere")
    assert train(tmp_path, "encode", "--from", made / "model") == 2
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "nowhere").mkdir()
    assert train(tmp_path, "encode") == 1
    assert "could be encoded" in capsys.readouterr().err


def test_a_diverged_stage_is_not_exported(copy, capsys):
    flags = ("--restart", "--set", "loop.learning_rate=100", "--set", "loop.steps=300", "--set", "loop.clip_norm=1e9")
    assert train(copy, "dit", *flags) == 1
    assert "training stopped at step" in capsys.readouterr().err
    out = copy / "exported"
    for stage in ("dit", "post"):
        assert train(copy, "export", "--out", str(out), "--result-of", stage) == 1
        assert "the stage dit diverged and was stopped" in capsys.readouterr().err
    assert train(copy, "dit", "--minutes", 1e-9) == 3  # resumed, and stopped before its end
    assert train(copy, "export", "--out", str(out)) == 1
    assert "the stage dit diverged and was stopped" in capsys.readouterr().err
    assert not out.exists()
    assert train(copy, "dit", "--restart") == 0
    assert train(copy, "export", "--out", str(out), "--result-of", "dit") == 0
