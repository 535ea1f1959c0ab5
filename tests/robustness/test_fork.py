"""A process that is forked after inference fails fast; an earlier fork and a spawned process work."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

RULE = """
import os
from soundloom.engines.forks import require_threads
from soundloom.errors import EngineError

def in_child():
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        require_threads()
    except EngineError as error:
        os._exit(7 if "spawn" in error.hint else 8)
    os._exit(0)

before = in_child()
require_threads()
after = in_child()
require_threads()
print(before, after)
"""
GENERATED = """
import os, sys
from soundloom import load
from soundloom.errors import EngineError

model = load(sys.argv[1], keep_loaded=True)
model.generate("rain", seconds=0.3, steps=1, seed=1)
child = os.fork()
if not child:
    failed = 0
    for attempt in (
        lambda: model.generate("rain", seconds=0.3, steps=1, seed=1),
        lambda: model.decode(model.encode(model.generate("rain", seconds=0.3, steps=1))),
    ):
        try:
            attempt()
        except EngineError:
            failed += 1
    os._exit(failed)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
model.generate("rain", seconds=0.3, steps=1, seed=1)
"""


def test_only_a_fork_after_inference_fails():
    done = subprocess.run([sys.executable, "-c", RULE], capture_output=True, text=True, check=True)
    assert done.stdout == "0 7\n"


@pytest.mark.slow
def test_a_model_in_a_forked_process_fails_fast(tiny_model_folder):
    command = [sys.executable, "-c", GENERATED, str(tiny_model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines() == ["2"]
