"""The registry of stages is complete and needs no PyTorch."""

import subprocess
import sys
from importlib import import_module

from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.registry import STAGES


def test_every_stage_has_a_module_of_its_name_with_a_run_function():
    for name in STAGES:
        assert callable(import_module(f"soundloom.training.stages.{name}").run)


def test_stages_depend_only_on_earlier_ones():
    names = list(STAGES)
    for spec in STAGES.values():
        assert set(spec.reads + spec.starts_from) <= set(names[: names.index(spec.name)])


def test_every_stage_writes_a_result_of_its_own(tmp_path):
    run_dir = RunDirectory(tmp_path)
    assert len({run_dir.result(name) for name in STAGES}) == len(STAGES)


def test_reading_the_registry_imports_no_torch():
    code = "import sys, soundloom.training.stages.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
