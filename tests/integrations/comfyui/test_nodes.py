"""The nodes against a real server, with stand-ins for ComfyUI; `test_comfyui.py` runs them in ComfyUI itself."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import threading

import mutagen
import numpy as np
import pytest
import soundfile
import torch

import soundloom
from soundloom.audio.metadata import read_record
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights, module_shapes
from soundloom.testing.adapters import make_adapter
from tests.integrations.comfyui import graphs
from tests.integrations.comfyui.conftest import PACK, ProgressBar
from tests.serving.http.conftest import TOKEN, running

RATE = 44_100
RUNNING = ("queued", "running", "canceling")


def test_clips_are_generated_edited_saved_and_loaded_with_their_record(client, pack, tmp_path):
    prompt = {
        "model": graphs.MODEL,
        "made": graphs.generate(count=2),
        "edited": graphs.edit(clips=["made", 1]),
        "saved": graphs.save("edited"),
    }
    found = graphs.run(pack, prompt)
    made, edited = (found[name][0] for name in ("made", "edited"))
    assert made["sample_rate"] == RATE and made["waveform"].shape == (2, 2, RATE)
    assert made["waveform"].dtype == torch.float32
    assert [clip["record"]["seed"] for clip in found["made"][1]] == [7, 8]
    assert ProgressBar.shown[-1] == 200 and ProgressBar.shown == sorted(ProgressBar.shown)
    outside = torch.cat([torch.arange(RATE // 4 - 500), torch.arange(RATE // 2 + 500, RATE)])
    assert torch.equal(edited["waveform"][..., outside], made["waveform"][..., outside])
    inside = slice(RATE * 3 // 10, RATE * 4 // 10)
    assert not torch.allclose(edited["waveform"][..., inside], made["waveform"][..., inside], atol=1e-3)

    files = [tmp_path / "output" / one["subfolder"] / one["filename"] for one in found["saved"]["ui"]["audio"]]
    assert [file.name for file in files] == ["test_00001_.flac", "test_00002_.flac"]
    record = read_record(files[0])
    assert record["request"]["regions"] == [[0.25, 0.5]] and record["request"]["prompt"] == "siren"
    comments = mutagen.File(files[0])  # what ComfyUI's page looks for in files that are dropped on it
    assert json.loads(comments["prompt"][0]) == prompt and json.loads(comments["workflow"][0]) == {"nodes": []}
    shutil.copy(files[0], tmp_path / "input" / "back.flac")
    load = {"class_type": "SoundloomLoad", "inputs": {"audio": "back.flac"}}
    loaded = graphs.run(pack, {"loaded": load})["loaded"]
    assert loaded[2:5] == ("siren", record["seed"], pytest.approx(1.0))
    assert json.loads(loaded[5])["request"] == record["request"]
    data, _ = soundfile.read(files[0], dtype="float32")
    np.testing.assert_array_equal(loaded[0]["waveform"][0].numpy(), data.T)
    again = graphs.run(pack, {"loaded": load, "saved": graphs.save("loaded", "wav", "copy")})["saved"]
    assert read_record(tmp_path / "output" / again["ui"]["audio"][0]["filename"])["request"] == record["request"]


def test_audio_of_other_nodes_is_edited(client, pack):
    sound = {"waveform": 0.3 * torch.randn(2, 1, 48_000).clamp(-1, 1), "sample_rate": 48_000}
    edit = pack.NODE_CLASS_MAPPINGS["SoundloomEdit"]()
    usual = {"model": {"name": "mini", "loras": []}, "prompt": "rain", "regions": "", "noise": 0.5, "steps": 0}
    usual |= {"audio": sound, "seed": 1, "extend_by": 0.5}
    longer, clips, record = edit.edit(kind="extend", **usual)
    assert longer["waveform"].shape == (2, 1, 72_000) and longer["sample_rate"] == 48_000
    torch.testing.assert_close(longer["waveform"][..., :47_000], sound["waveform"][..., :47_000], rtol=0, atol=0)
    assert len(clips) == len(json.loads(record)) == 2
    assert json.loads(edit.edit(kind="vary", **usual)[2])[0]["request"]["noise"] == 0.5
    assert json.loads(edit.edit(kind="loop", **usual)[2])[0]["mode"] == "loop"
    for given in ({"audio": None}, {"clips": clips}):
        with pytest.raises(ValueError, match="connect"):
            edit.edit(kind="vary", **usual | given)


def test_further_fields_replace_those_of_the_node(client, pack):
    prompt = {"model": graphs.MODEL, "made": graphs.generate(options='{"bars": 1, "bpm": 240, "seed": 9}', seconds=0.0)}
    record = json.loads(graphs.run(pack, prompt)["made"][2])
    assert (record["request"]["bars"], record["seed"]) == (1, 9)
    for options, text in (("[1]", "JSON object"), ("{", "no JSON"), ('{"bpm": -1}', "BPM"), ('{"what": 1}', "what")):
        with pytest.raises(Exception, match=text):
            graphs.run(pack, prompt | {"made": graphs.generate(options=options)})


def test_several_adapters_are_a_stack(pack):
    lora = pack.NODE_CLASS_MAPPINGS["SoundloomLora"]()
    (one,) = lora.add({"name": "mini", "loras": []}, "kev", 0.5)
    (two,) = lora.add(one, "dub", -1.0, 0.2, 0.9)
    assert two["loras"] == [{"name": "kev", "strength": 0.5}, {"name": "dub", "strength": -1.0, "sigma": [0.2, 0.9]}]
    assert lora.add(two, "none", 1.0) == lora.add(two, "kev", 0.0) == (two,)


def test_an_adapter_that_the_server_lacks_is_named(client, pack):
    lora = {"class_type": "SoundloomLora", "inputs": {"model": ["model", 0], "lora": "kev", "strength": 1.0}}
    with pytest.raises(Exception, match="no adapter named 'kev'"):
        graphs.run(pack, {"model": graphs.MODEL, "lora": lora, "made": graphs.generate(model=["lora", 0])})


def test_comments_are_added_to_flac_files(pack, tmp_path):
    sound = sys.modules[f"{pack.__name__}.sound"]
    soundfile.write(tmp_path / "a.flac", np.zeros(1000), RATE)
    plain = (tmp_path / "a.flac").read_bytes()
    assert sound.with_comments(plain, {"workflow": "x" * 2**24}) == plain
    (tmp_path / "b.flac").write_bytes(sound.with_comments(plain, {"workflow": "ü{}", "prompt": "=1"}))
    assert mutagen.File(tmp_path / "b.flac")["workflow"] == ["ü{}"]
    assert mutagen.File(tmp_path / "b.flac")["prompt"] == ["=1"]
    assert len(soundfile.read(tmp_path / "b.flac")[0]) == 1000
    with pytest.raises(ValueError, match="no FLAC"):
        sound.with_comments(b"RIFF", {})


@pytest.mark.slow
def test_adapters_of_the_server_change_the_clip(pack, tmp_path, tmp_path_factory, monkeypatch):
    checkpoint = soundloom.load("mini", engine="torch", device="cpu", threads=1).checkpoint
    shapes, weights = module_shapes(checkpoint.config), base_weights(checkpoint)
    (tmp_path / "loras").mkdir()
    for seed, name in enumerate(("kev", "dub")):
        adapter = make_adapter(shapes, "dora-rows", seed, size=0.3, weights=weights)
        write_adapter(tmp_path / "loras" / f"{name}.safetensors", adapter)
    monkeypatch.setenv("SOUNDLOOM_LORAS", str(tmp_path / "loras"))
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOUNDLOOM_TOKEN", TOKEN)
    lora = {"model": ["model", 0], "lora": "kev", "strength": 0.5}
    prompt = {
        "model": graphs.MODEL,
        "one": {"class_type": "SoundloomLora", "inputs": lora},
        "two": {"class_type": "SoundloomLora", "inputs": lora | {"model": ["one", 0], "lora": "dub"}},
        "plain": graphs.generate(steps=2),
        "made": graphs.generate(steps=2, model=["two", 0]),
    }
    with running(tmp_path_factory.mktemp("data")) as (http, _):
        monkeypatch.setenv("SOUNDLOOM_URL", str(http.base_url))
        assert pack.NODE_CLASS_MAPPINGS["SoundloomLora"].INPUT_TYPES()["required"]["lora"][0] == ["none", "dub", "kev"]
        found = graphs.run(pack, prompt)
    uses = found["made"][1][0]["record"]["request"]["loras"]["uses"]
    assert [(use["name"], use["strength"]) for use in uses] == [("kev", 0.5), ("dub", 0.5)]
    assert not torch.allclose(found["made"][0]["waveform"], found["plain"][0]["waveform"], atol=1e-2)


def test_a_cancel_in_comfyui_cancels_the_job(client, pack, monkeypatch):
    class Interrupted(Exception):
        pass

    def interrupt():
        raise Interrupted

    before = len(client.get("/v1/jobs").json())
    monkeypatch.setattr(sys.modules["comfy.model_management"], "throw_exception_if_processing_interrupted", interrupt)
    with pytest.raises(Interrupted):
        graphs.run(pack, {"model": graphs.MODEL, "made": graphs.generate(seconds=600.0, count=20)})
    jobs = client.get("/v1/jobs").json()
    assert len(jobs) == before + 1
    (job,) = [job for job in jobs if len(job["items"]) == 20]
    ended = client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).json()
    assert ended["state"] == "canceled"


def test_a_restart_of_the_server_is_survived(client, pack, monkeypatch):
    server = sys.modules[f"{pack.__name__}.server"]
    monkeypatch.setattr(server, "FIRST_PAUSE", 0.01)
    send, sent = server.Server._send, []

    def fail_often(self, method, path, *rest):
        sent.append(path)
        if len(sent) > 1 and len(sent) % 3:
            raise ConnectionRefusedError("not listening") if len(sent) % 2 else ConnectionResetError("cut")
        return send(self, method, path, *rest)

    monkeypatch.setattr(server.Server, "_send", fail_often)
    before = len(client.get("/v1/jobs").json())
    found = graphs.run(pack, {"model": graphs.MODEL, "made": graphs.generate()})
    assert found["made"][0]["waveform"].shape == (1, 2, RATE) and len(sent) > 6
    assert len(client.get("/v1/jobs").json()) == before + 1


@pytest.mark.parametrize("name", ['rain "1".wav', "дождь.wav", "a;b\\c.wav", "x" * 200 + ".wav", "rain\u202e.wav"])
def test_files_of_any_name_are_loaded(client, pack, tmp_path, name):
    soundfile.write(tmp_path / "input" / "plain.wav", np.zeros((1000, 2)), RATE)
    (tmp_path / "input" / "plain.wav").rename(tmp_path / "input" / name)
    assert name in pack.NODE_CLASS_MAPPINGS["SoundloomLoad"].INPUT_TYPES()["required"]["audio"][0]
    load = {"class_type": "SoundloomLoad", "inputs": {"audio": name}}
    found = graphs.run(pack, {"loaded": load})["loaded"]
    assert found[0]["waveform"].shape == (1, 2, 1000) and found[2:4] == ("", 0)


def test_menus_list_what_the_server_has_and_work_without_it(client, pack, monkeypatch):
    kind = pack.NODE_CLASS_MAPPINGS["SoundloomModel"]
    names = kind.INPUT_TYPES()["required"]["name"][0]
    assert names[0] == "model of the server" and {"mini", "small-music"} <= set(names)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SOUNDLOOM_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert kind.INPUT_TYPES()["required"]["name"][0] == ["model of the server"]
        with pytest.raises(Exception, match=r"does not answer .* Start it with `soundloom serve`"):
            graphs.run(pack, {"model": graphs.MODEL, "made": graphs.generate()})
    monkeypatch.setenv("SOUNDLOOM_URL", "ftp://nowhere")
    assert kind.INPUT_TYPES()["required"]["name"][0] == ["model of the server"]
    with pytest.raises(Exception, match="SOUNDLOOM_URL is 'ftp://nowhere'"):
        graphs.run(pack, {"model": graphs.MODEL, "made": graphs.generate()})


def test_models_are_loaded_ahead(client, pack):
    chosen = pack.NODE_CLASS_MAPPINGS["SoundloomModel"]().choose("model of the server", True)
    assert chosen == ({"name": None, "loras": []},)
    with pytest.raises(Exception, match="nothing"):
        pack.NODE_CLASS_MAPPINGS["SoundloomModel"]().choose("nothing", True)


def test_a_wrong_token_is_a_sentence(client, pack, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_TOKEN", "wrong")
    with pytest.raises(Exception, match=r"refuses the token\. Set SOUNDLOOM_TOKEN"):
        graphs.run(pack, {"model": graphs.MODEL, "made": graphs.generate()})


def test_the_token_of_the_data_folder_is_only_for_this_machine(pack, monkeypatch, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "token").write_text("stored\n")
    monkeypatch.delenv("SOUNDLOOM_TOKEN", raising=False)
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path))
    server = sys.modules[f"{pack.__name__}.server"]
    assert server.find_token("http://localhost:8157") == "stored"
    assert server.find_token("http://127.0.0.1.example.org:8157") is None
    monkeypatch.setenv("SOUNDLOOM_TOKEN", "own")
    assert server.find_token("https://workstation") == "own"


def test_no_workflow_can_choose_the_server_or_read_the_token(client, pack):
    for kind in pack.NODE_CLASS_MAPPINGS.values():
        names = graphs.declared(kind)
        assert not {"url", "server", "token", "host"} & set(names), kind
    made = graphs.run(pack, {"model": graphs.MODEL, "made": graphs.generate()})["made"]
    assert "a-token-of-the-tests" not in json.dumps(made[1:])


def test_redirects_are_not_followed(pack, monkeypatch):
    """Another host would get the token."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                connection.sendall(head)

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("SOUNDLOOM_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        server = sys.modules[f"{pack.__name__}.server"].Server()
        with pytest.raises(Exception, match="the server answered 302"):
            server.json("GET", "/v1/system")


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1-2", "2-1", "1-1", "1-2,", "a-b", "1-2;3-4", "nan-1", "1-inf", "1-2-3", "١-٢"]
)
def test_regions_that_are_typed_wrong_are_reported_before_anything_runs(pack, text):
    kind = pack.NODE_CLASS_MAPPINGS["SoundloomEdit"]
    assert "regions are seconds such as" in kind.VALIDATE_INPUTS(kind="inpaint", regions=text)
    assert kind.VALIDATE_INPUTS(kind="vary", regions=text) is True
    assert kind.VALIDATE_INPUTS(kind="inpaint", regions=" 1 - 1.5,3.25-4 ") is True


def test_sound_keeps_every_sample(pack):
    sound = sys.modules[f"{pack.__name__}.sound"]
    for shape in ((1, 1), (2, 1001), (6, 7)):
        wave = torch.randn(shape)
        file = sound.to_wav(wave, 48_000)
        data, rate = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
        assert rate == 48_000 and np.array_equal(data.T, wave.numpy())
        back, rate = sound.from_wav(file)
        assert rate == 48_000 and torch.equal(back, wave)
    for damaged in (
        b"",
        b"RIFF",
        file[:40],
        file.replace(b"WAVE", b"WOVE"),
        file.replace(b"\x03\0\x06", b"\x01\0\x06"),
    ):
        with pytest.raises(ValueError, match="the server sent"):
            sound.from_wav(damaged)


@pytest.mark.parametrize("path", sorted(PACK.glob("example_workflows/*.json")), ids=lambda path: path.stem)
def test_the_example_workflows_run(client, pack, tmp_path, path):
    prompt = graphs.to_prompt(json.loads(path.read_text()), pack.NODE_CLASS_MAPPINGS)
    soundfile.write(tmp_path / "input" / "example.wav", 0.1 * np.random.default_rng(0).normal(size=(RATE * 2, 2)), RATE)
    found = graphs.run(pack, prompt)
    saved = [one["ui"]["audio"] for one in found.values() if isinstance(one, dict)]
    assert saved and all(saved)


def test_the_package_needs_nothing_but_the_standard_library_and_torch():
    known = sys.stdlib_module_names | {"torch", "folder_paths", "comfy"}
    for path in PACK.glob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and not words[1].startswith("."):
                assert words[1].partition(".")[0] in known, f"{path.name}: {line}"
