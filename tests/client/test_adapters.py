"""LoRA adapters of a server, from Python and from the command line."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

import soundloom
from soundloom import AsyncClient, Client, Clip
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse, mix
from soundloom.errors import MismatchError, RequestError
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights, module_shapes
from soundloom.testing.adapters import make_adapter
from tests.serving.http.conftest import TOKEN, running

RAIN = {"seconds": 0.3, "seed": 7, "steps": 2}
FAST = ("--seconds", 0.3, "--seed", 7, "--steps", 2)
HERE = ("--threads", 1, "--device", "cpu", "--engine", "torch")


@pytest.fixture(scope="module")
def model():
    return soundloom.load("mini", engine="torch", device="cpu", threads=1, keep_loaded=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    """A folder of adapters: `style` and `deep/other` fit, and `wide` does not."""
    folder, checkpoint = tmp_path_factory.mktemp("adapters"), model.checkpoint
    (folder / "deep").mkdir()
    shapes, weights = module_shapes(checkpoint.config), base_weights(checkpoint)
    for seed, name in enumerate(("style", "deep/other")):
        path = folder / f"{name}.safetensors"
        write_adapter(path, make_adapter(shapes, "dora-rows", seed, size=0.3, weights=weights))
    wide = {name: tuple(size + 1 for size in shape) for name, shape in shapes.items()}
    write_adapter(folder / "wide.safetensors", make_adapter(wide, "lora", 3, size=0.3))
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDLOOM_LORAS", str(folder))
        patch.setenv("SOUNDLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SOUNDLOOM_TOKEN", TOKEN)
        with running(tmp_path_factory.mktemp("data")) as (http, _):
            yield str(http.base_url)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / ".settings"))


@pytest.fixture
def client(url):
    with Client(url) as client:
        yield client


def test_the_adapters_are_listed(client, url):
    assert client.loras() == ["style", "wide", "deep/other"]

    async def use():
        async with AsyncClient(url) as other:
            return await other.loras(), await other.generate("rain", loras="style", **RAIN)

    names, clip = asyncio.run(use())
    assert names == client.loras() and (clip.audio == client.generate("rain", loras="style", **RAIN).audio).all()


@pytest.mark.parametrize(
    "loras",
    [
        "style",
        {"style": 0.5, "deep/other": 0.7},
        [AdapterUse("style", 0.8, steps=(2, 2), off=("cross_attn",), layers={"ff": 0.5}, curve=((0, 0), (1, 1)))],
        AdapterStack((AdapterUse("style"), AdapterUse("deep/other", 0.4)), "sum", "all"),
        mix("style", "deep/other", 0.3),
    ],
    ids=["name", "strengths", "settings", "sum", "mix"],
)
def test_a_clip_is_that_of_a_local_model(client, model, loras):
    clip, expected = client.generate("rain", loras=loras, **RAIN), model.generate("rain", loras=loras, **RAIN)
    assert (clip.audio == expected.audio).all() and dict(clip.record) == dict(expected.record)
    assert not np.array_equal(clip.audio, model.generate("rain", **RAIN).audio)


@pytest.mark.parametrize(
    ("loras", "error", "text", "hint"),
    [
        ("stile", RequestError, "the server has no adapter named 'stile'", "did you mean style?"),
        ("qqqq", RequestError, "the server has no adapter named 'qqqq'", "it has style, wide, deep/other"),
        ("../style", RequestError, "no adapter named", ""),
        ("/etc/passwd", RequestError, "no adapter named", ""),
        ("\xfcn\xef" * 99, RequestError, "no adapter named", ""),
        ("wide", MismatchError, "wide", ""),
        ([AdapterUse("style", off=("nothing",))], RequestError, "nothing", ""),
        ([AdapterUse("style", sha256="0" * 64)], RequestError, "another one", ""),
        (AdapterStack((AdapterUse("style"),), published=True), RequestError, "does not repeat faults", ""),
    ],
)
def test_adapters_that_cannot_be_used_are_one_sentence(client, loras, error, text, hint):
    with pytest.raises(error, match=text) as found:
        client.generate("rain", loras=loras, **RAIN)
    assert hint in found.value.hint and "\n" not in found.value.args[0]


def test_an_adapter_is_found_by_its_hash_under_another_name(client, model):
    used = client.generate("rain", loras="style", **RAIN).record["request"]["loras"]["uses"][0]
    clip = client.generate("rain", loras=[AdapterUse("my-copy", sha256=used["sha256"])], **RAIN)
    assert clip.record["request"]["loras"]["uses"] == [used]


@pytest.mark.parametrize(
    "flags",
    [
        ("--lora", "style=0.5", "steps=2-", "off=cross_attn"),
        ("--lora", "style", "--lora", "deep/other", "--lora-strength", 0.4, "--lora-combine", "sum"),
        ("--lora", "style", "--lora", "deep/other", "--lora-mix", 0.3),
        ("--lora", "style", "--compat", "stable-audio-3"),
    ],
    ids=["settings", "sum", "mix", "published"],
)
def test_commands_write_the_same_files_as_here(run_command, url, flags):
    here = run_command("generate", "rain", *FAST, *flags, "-o", "here.wav", *HERE)
    there = run_command("generate", "rain", *FAST, *flags, "-o", "there.wav", "--server", url)
    assert (here.code, there.code) == (0, 0), there.err
    local, remote = Clip.load("here.wav"), Clip.load("there.wav")
    assert (local.audio == remote.audio).all() and local.record == remote.record


def test_a_file_is_repeated_with_its_adapters(run_command, url):
    made = run_command("generate", "rain", *FAST, "--lora", "style=0.5", "-o", "a.wav", "--server", url)
    again = run_command("generate", "--like", "a.wav", "-o", "b.wav", "--server", url)
    assert (made.code, again.code) == (0, 0), again.err
    assert (Clip.load("a.wav").audio == Clip.load("b.wav").audio).all()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--lora", "stile"), "no adapter named 'stile'"),
        (("--lora", "style", "strenght=2"), "no setting 'strenght'"),
        (("--lora-strength", 2), "--lora-strength needs an adapter"),
        (("--lora", ""), "an adapter is named by text"),
    ],
)
def test_bad_flags_are_one_sentence(run_command, url, tmp_path, flags, text):
    found = run_command("generate", "rain", *FAST, *flags, "-o", "x.wav", "--server", url)
    assert found.code in (1, 2) and text in found.err and "Traceback" not in found.err
    assert not (tmp_path / "x.wav").exists()


def test_the_folder_of_this_machine_has_no_effect(run_command, url, tmp_path):
    found = run_command("generate", "rain", *FAST, "--lora", "style", "--lora-dir", tmp_path, "--server", url)
    assert found.code == 0 and "--lora-dir has no effect with --server" in found.err


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"loras": [{"name": 5}]}, "each of loras needs a name"),
        ({"loras": [{}]}, "each of loras needs a name"),
        ({"loras": [{"name": "style", "nothing": 1}]}, "nothing"),
        ({"loras": [{"name": "style"}] * 17}, "loras"),
        ({"loras": [{"name": "style"}], "lora_combine": "x"}, "lora_combine"),
        ({"lora_seconds": "all"}, "need adapters"),
    ],
)
def test_bad_bodies_are_refused(client, body, text):
    answer = client._http.post("/v1/jobs", json={"request": {"prompt": "rain"}, **body})
    assert answer.status_code == 422 and text in json.dumps(answer.json())
