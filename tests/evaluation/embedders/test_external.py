"""Embedders in real second processes: arrays, errors, crashes, hangs, nonsense."""

import json
import os
import sys

import numpy as np
import pytest

from soundloom.errors import ConfigError, EngineError, ModelNotFoundError
from soundloom.evaluation.embedders.base import Classifier, TextEmbedder
from soundloom.evaluation.embedders.external import PLUGIN_FOLDER, config_file, start_external
from soundloom.evaluation.embedders.load import PLUGINS, load_embedder

PLUGIN = """
import sys, time
print("packages print when they are imported")

def open_embedder():
    def embed(windows):
        print("and when they run")
        if windows.max() > 90: raise RuntimeError("the network\\nfailed")
        if windows.max() > 80: sys.stderr.write("out of\\nmemory\\n"); sys.stderr.flush(); import os; os._exit(9)
        if windows.max() > 70: time.sleep(60)
        if windows.max() > 60: return windows
        return windows[:, :3] * 2
    return {"rate": 8000, "window": 4, "dimensions": 3, "license": "none", "batch": 2, "embed": embed, MORE}
"""
TEXT = '"embed_text": lambda texts: [[len(text)] * 3 for text in texts]'
TAGS = '"labels": ["a", "ü"], "classify": lambda windows: windows[:, :2]'


def command(folder, more=""):
    path = folder / "plügin.py"
    path.write_text(PLUGIN.replace("MORE", more), encoding="utf-8")
    return [sys.executable, "-I", str(PLUGIN_FOLDER / "worker.py"), str(path)]


@pytest.fixture
def start(tmp_path):
    started = []

    def start(more="", timeout=20.0, arguments=None):
        started.append(start_external("made", arguments or command(tmp_path, more), timeout))
        return started[-1]

    yield start
    for embedder in started:
        embedder.close()


def windows(count, loudest=1.0):
    made = np.arange(4 * count, dtype=np.float32).reshape(count, 4) / (4 * count)
    made[-1, -1] = loudest
    return made


def test_arrays_come_back_in_order_and_in_batches(start):
    embedder = start()
    made = windows(5)
    assert np.array_equal(embedder.embed(made), made[:, :3] * 2)
    assert embedder.embed(made[:0]).shape == (0, 3)
    assert (embedder.info.rate, embedder.info.window, embedder.info.license) == (8000, 4, "none")
    assert len(embedder.info.hash) == 64
    assert not isinstance(embedder, Classifier | TextEmbedder)


def test_text_and_classes_are_there_if_the_plugin_has_them(start):
    embedder = start(f"{TEXT}, {TAGS}")
    assert isinstance(embedder, Classifier)
    assert isinstance(embedder, TextEmbedder)
    assert embedder.info.labels == ("a", "ü")
    assert np.array_equal(embedder.classify(windows(3)), windows(3)[:, :2])
    assert embedder.embed_text(["a", "ünï", ""]).tolist() == [[1.0] * 3, [3.0] * 3, [0.0] * 3]


def test_the_hash_is_that_of_source_and_version(start):
    hashes = [start(more).info.hash for more in ("", "", '"version": "2"')]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_error_in_the_plugin_is_one_sentence_and_the_next_call_works(start):
    embedder = start()
    with pytest.raises(EngineError, match=r"the process of made failed: RuntimeError: the network$"):
        embedder.embed(windows(1, 95.0))
    assert len(embedder.embed(windows(1))) == 1


def test_a_crash_is_one_error_with_the_exit_code_and_last_words(start):
    embedder = start()
    with pytest.raises(EngineError, match=r"does not answer: its output ended \(exit code 9\)") as caught:
        embedder.embed(windows(1, 85.0))
    assert caught.value.hint == "it said: memory"
    with pytest.raises(EngineError, match="the process of made has ended"):
        embedder.embed(windows(1))


def test_a_hang_ends_after_the_time_limit(start):
    embedder = start(timeout=0.3)
    pid = embedder._process._process.pid
    with pytest.raises(EngineError, match=r"did not answer within 0\.3 s, and was ended"):
        embedder.embed(windows(1, 75.0))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_array_of_another_shape_is_refused(start):
    with pytest.raises(EngineError, match=r"an array of shape \(1, 4\), not \(1, 3\)"):
        start().embed(windows(1, 65.0))


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("print('hello')", "does not answer: Expecting value"),
        ("print(3)", "its answer is not an object"),
        ("print('{}')", "describes itself wrongly: the configuration lacks the field 'protocol'"),
        ("raise SystemExit('no license')", r"its output ended \(exit code 1\)"),
        ("import json; print(json.dumps({'shape': [1 << 20, 1 << 20]}))", "its answer has 1099511627776 values"),
        ("import json; print(json.dumps({'shape': [2, -2]}))", "no valid shape"),
        ("import json; print(json.dumps({'error': 'no GPU'}))", "failed: no GPU"),
    ],
)
def test_programs_that_speak_something_else_are_refused(start, program, fault):
    with pytest.raises(EngineError, match=fault):
        start(arguments=[sys.executable, "-I", "-S", "-c", program])


def test_a_program_that_does_not_exist_is_refused(start):
    with pytest.raises(EngineError, match="the process of made does not start"):
        start(arguments=["/nowhere/python"])


def test_the_configuration_names_python_and_plugin(monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path))
    file = config_file("my-own")
    file.parent.mkdir()
    file.write_text(f"python = {json.dumps(sys.executable)}\nplugin = {json.dumps(command(tmp_path)[-1])}\n")
    embedder = load_embedder("my-own")
    assert embedder.embed(windows(1)).shape == (1, 3)
    embedder.close()

    file.write_text('python = "/nowhere/python"\n')
    with pytest.raises(ConfigError, match="soundloom has none for my-own"):
        load_embedder("my-own")
    file.write_text("timeout = 3.0\n")
    with pytest.raises(ConfigError, match="names no Python"):
        load_embedder("my-own")


def test_packages_missing_in_the_other_environment_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=r"vggish\.toml does not say which"):
        load_embedder("vggish")
    plugin = tmp_path / "broken.py"
    plugin.write_text("import a_package_of_nobody")
    file = config_file("broken")
    file.parent.mkdir()
    file.write_text(f"python = {json.dumps(sys.executable)}\nplugin = {json.dumps(str(plugin))}\n")
    with pytest.raises(EngineError, match="broken failed: ModuleNotFoundError: No module named 'a_package_of_nobody'"):
        load_embedder("broken")


def test_plugins_import_the_packages_that_they_are_named_after(tmp_path):
    """The worker's folder is not searched, where `import muq` would find the plug-in."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text("import muq")
    with pytest.raises(EngineError, match="No module named 'muq'"):
        start_external("muq", [sys.executable, str(PLUGIN_FOLDER / "worker.py"), str(plugin)])


def test_every_plugin_has_its_file():
    assert all((PLUGIN_FOLDER / f"{name.replace('-', '_')}.py").is_file() for name in PLUGINS)
