"""The nodes in ComfyUI's own validation and execution of prompts, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import soundfile

from soundloom.audio.metadata import read_record
from tests.fetched import COMFY, export
from tests.integrations.comfyui import graphs
from tests.integrations.comfyui.conftest import PACK
from tests.serving.http.conftest import TOKEN

pytestmark = pytest.mark.slow
FILES = (
    "execution.py",
    "protocol.py",
    "folder_paths.py",
    "comfy_execution",
    "comfy_api",
    ":(glob)comfy/*.py",
    "comfy/comfy_types",
)
SCRIPT = PACK.parents[1] / "tests" / "integrations" / "comfyui" / "execute_prompts.py"


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory):
    """The part of ComfyUI's code that executes prompts."""
    for name in ("psutil", "tqdm", "PIL", "aiohttp"):
        pytest.importorskip(name, reason=f"ComfyUI needs {name}")
    return export(COMFY, tmp_path_factory.mktemp("fetched") / "ComfyUI", *FILES)


def execute(comfyui, client, folder, *prompts):
    """Return what ComfyUI says about prompts, which one process executes in a row."""
    command = [sys.executable, str(SCRIPT), str(comfyui), str(PACK), str(folder)]
    environment = {**os.environ, "SOUNDLOOM_URL": str(client.base_url), "SOUNDLOOM_TOKEN": TOKEN}
    done = subprocess.run(
        command, input=json.dumps(prompts), capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("RESULTS")[2])


def kinds(found):
    return [kind for kind, _ in found["messages"]]


def test_comfyui_executes_the_nodes(comfyui, client, tmp_path):
    made = {"model": graphs.MODEL, "made": graphs.generate(count=2)}
    edited = {**made, "edited": graphs.edit(clips=["made", 1]), "saved": graphs.save("edited")}
    longer = graphs.edit(kind="extend", audio=["made", 0])
    more = {
        **made,
        "edited": graphs.edit(kind="vary", clips=["made", 1]),
        "saved": graphs.save("edited", "wav"),
        "longer": longer,
    }
    more |= {"saved longer": graphs.save("longer", "mp3", "audio/longer")}
    first, again, third = execute(comfyui, client, tmp_path, edited, edited, more)
    for found in (first, again, third):
        assert found["valid"] and kinds(found)[-1] == "execution_success", found
    assert "progress_state" in first["sent"]
    assert set(dict(again["messages"])["execution_cached"]["nodes"]) == set(edited)  # nothing is made twice
    assert {"model", "made"} <= set(dict(third["messages"])["execution_cached"]["nodes"])
    files = [tmp_path / "output" / one["subfolder"] / one["filename"] for one in first["outputs"]["saved"]["audio"]]
    assert [file.name for file in files] == ["test_00001_.flac", "test_00002_.flac"]
    assert [read_record(file)["request"]["regions"] for file in files] == [[[0.25, 0.5]]] * 2
    assert [soundfile.info(file).frames for file in files] == [44_100] * 2
    (one, _) = third["outputs"]["saved longer"]["audio"]
    assert soundfile.info(tmp_path / "output" / "audio" / one["filename"]).duration == pytest.approx(1.5, abs=0.05)

    (tmp_path / "input" / "back.flac").write_bytes(files[0].read_bytes())
    load = {"class_type": "SoundloomLoad", "inputs": {"audio": "back.flac"}}
    vary = graphs.edit(kind="vary", clips=["loaded", 1], prompt=["loaded", 2], seed=["loaded", 3])
    loaded = {"model": graphs.MODEL, "loaded": load, "varied": vary, "saved": graphs.save("varied", "ogg", "varied")}
    (found,) = execute(comfyui, client, tmp_path, loaded)
    assert kinds(found)[-1] == "execution_success", found
    request = read_record(tmp_path / "output" / "varied_00001_.ogg")["request"]
    assert (request["prompt"], request["noise"], request["seed"]) == ("siren", 0.6, read_record(files[0])["seed"])


def test_comfyui_reports_what_is_wrong(comfyui, client, tmp_path):
    made = {"model": graphs.MODEL, "made": graphs.generate()}
    region = {**made, "edited": graphs.edit(clips=["made", 1], regions="2-1"), "saved": graphs.save("edited")}
    missing = {
        "loaded": {"class_type": "SoundloomLoad", "inputs": {"audio": "none.wav"}},
        "saved": graphs.save("loaded"),
    }
    nothing = {**made, "edited": graphs.edit(), "saved": graphs.save("edited")}
    unknown = {**made, "model": {"class_type": "SoundloomModel", "inputs": {"name": "no-such", "load": False}}}
    unknown["saved"] = graphs.save("made")
    first, second, third, last = execute(comfyui, client, tmp_path, region, missing, nothing, unknown)
    assert not first["valid"] and "regions are seconds such as" in json.dumps(first["node_errors"]["edited"])
    assert not second["valid"] and "none.wav" in json.dumps(second["node_errors"]["loaded"])
    assert "connect audio or clips" in dict(third["messages"])["execution_error"]["exception_message"]
    assert "no-such" in dict(last["messages"])["execution_error"]["exception_message"]


def test_an_interrupt_of_comfyui_cancels_the_job(comfyui, client, tmp_path):
    long = {"model": graphs.MODEL, "made": graphs.generate(seconds=300.0, count=30), "saved": graphs.save("made")}
    (found,) = execute(comfyui, client, tmp_path, "interrupt", long)
    assert kinds(found)[-1] == "execution_interrupted", found
    (job,) = [job for job in client.get("/v1/jobs").json() if len(job["items"]) == 30]
    assert client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).json()["state"] == "canceled"
