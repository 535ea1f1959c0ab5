"""PyTorch's threads: the wait policy is set before PyTorch is loaded, the user's own settings are left alone."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.cores import count_cores
from soundloom.engines import threads
from soundloom.engines.threads import COUNT_VARIABLES, WAIT_VARIABLES, check_threads
from soundloom.errors import RequestError

VARIABLES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
POLICY = f"print(*map(__import__('os').environ.get, {VARIABLES}))\n"
THREADS = "import torch; print(torch.get_num_threads())\n"
DESCRIBE = "from soundloom.engines.threads import describe_threads; print(describe_threads())\n"
SHORT, NONE = "4000 1 None", "None None PASSIVE"  # on an idle machine, and beside other programs
# Print variables as they are when PyTorch, and with it the OpenMP runtime, is first imported, and end the process.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(*map(os.environ.get, names), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
"""
LOAD = "import soundloom; model = soundloom.load('mini')\n"
ENTRIES = {
    "load": LOAD,
    "a command": "from soundloom.cli.main import main; main(['doctor', '--model', 'medium'])",
    "train": "from soundloom.cli.main import main; main(['train', 'dit', 'nowhere', '--work', 'run'])",
    "bench": "from soundloom.bench.measure import load_stable_audio; load_stable_audio('mini')",
}


def run(code, **environment):
    """Run Python in a new process without the variables of this one; return its lines of output."""
    own = {key: value for key, value in os.environ.items() if key not in (*WAIT_VARIABLES, *COUNT_VARIABLES)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=own | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_policy_is_set_before_pytorch_is_imported(entry, tmp_path):
    lines = run(f"import os; os.chdir({str(tmp_path)!r})\nnames = {VARIABLES}\n" + WATCH + ENTRIES[entry])
    assert lines[-1] in (SHORT, NONE)


@pytest.mark.parametrize(
    ("looks", "policy"),
    [
        (["1/90"] * 5, SHORT),
        (["2/90"] * 5, NONE),
        (["3/90", "9/90", "2/90", "2/90", "4/90"], NONE),
        (["3/90", "3/90", "3/90", "3/90", "1/90"], SHORT),
        (["0/0"] * 5, SHORT),
        (["many"] * 5, SHORT),
    ],
)
def test_threads_sleep_at_once_beside_programs_that_run_all_the_time(monkeypatch, looks, policy):
    class Loadavg:
        def read_text(self, encoding):
            return f"0.10 0.20 0.30 {looks.pop(0)} 4711\n"

    for name in WAIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_LOADAVG", Loadavg())
    threads.shorten_waits()
    found = [os.environ.get(name) for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")]
    for name in WAIT_VARIABLES:  # monkeypatch restores only what it deleted
        os.environ.pop(name, None)
    assert " ".join(map(str, found)) == policy


def test_an_unknown_load_counts_as_idle(monkeypatch, tmp_path):
    monkeypatch.setattr(threads, "_LOADAVG", tmp_path / "loadavg")
    assert not threads._others_run()


def test_importing_the_package_changes_nothing():
    assert run("import soundloom; import soundloom.cli.main; soundloom.load\n" + POLICY) == ["None None None"]


@pytest.mark.parametrize("name", WAIT_VARIABLES)
def test_a_policy_of_the_user_stays(name):
    found = run(f"names = {WAIT_VARIABLES}\n" + WATCH + LOAD, **{name: "7"})
    assert found == [" ".join("7" if other == name else "None" for other in WAIT_VARIABLES)]


def test_an_imported_pytorch_is_left_alone():
    lines = run("import torch; torch.set_num_threads(3)\n" + LOAD + POLICY + THREADS + DESCRIBE)
    assert lines == ["None None None", "3", "3, chosen outside soundloom; no wait policy"]


@pytest.mark.parametrize("name", COUNT_VARIABLES)
def test_a_number_of_the_user_stays(name):
    (described,) = run(LOAD + DESCRIBE, **{name: "1", "GOMP_SPINCOUNT": "7"})
    assert described == f"1, {name}; GOMP_SPINCOUNT=7"


@pytest.mark.skipif(count_cores() is None, reason="cores are counted on Linux")
def test_threads_are_no_more_than_usable_cores():
    limited = "import soundloom.engines.threads as t; from soundloom.cores import Cores\n"
    limited += "t.count_cores = lambda: Cores(4, 4, 0.5)\n"
    assert run(limited + LOAD + DESCRIBE, GOMP_SPINCOUNT="7") == ["1, one per usable core; GOMP_SPINCOUNT=7"]


def test_load_sets_the_number_even_if_the_environment_does():
    code = "import soundloom; soundloom.load('mini', threads=2); soundloom.load('mini')\n"
    lines = run(code + THREADS + DESCRIBE, OMP_NUM_THREADS="1", GOMP_SPINCOUNT="7")
    assert lines == ["2", "2, as requested; GOMP_SPINCOUNT=7"]


def test_the_number_does_not_change_the_clip_audibly():
    code = "import soundloom, numpy as np\n"
    code += "clips = [soundloom.load('mini', threads=n).generate('rain', seconds=1, seed=1).audio for n in (1, 2)]\n"
    code += "print(np.abs(clips[0] - clips[1]).max() < 1e-4)"
    assert run(code) == ["True"]


@pytest.mark.parametrize("count", [0, -1, 1025, 1.5, True, "2"])
def test_bad_numbers_are_rejected_before_anything_is_loaded(count):
    with pytest.raises(RequestError, match="threads must be an integer between 1 and 1024"):
        check_threads(count)
