"""Available memory, of the machine and of a container."""

from pathlib import Path

import pytest

from soundloom import memory
from soundloom.errors import EngineError

MACHINE = 8 * 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that gives the system's files other contents."""
    files = {"v2": tmp_path / "memory.max", "v1": tmp_path / "memory.limit_in_bytes", "meminfo": tmp_path / "meminfo"}
    monkeypatch.setattr(memory, "_CONTAINER", (files["v2"], files["v1"]))
    monkeypatch.setattr(memory, "_MEMINFO", files["meminfo"])
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": MACHINE // 4096}.__getitem__)

    def write(**contents):
        for name, text in contents.items():
            files[name].write_text(text)

    return write


@pytest.mark.parametrize(
    ("contents", "total"),
    [
        ({}, MACHINE),
        ({"v2": "max\n"}, MACHINE),
        ({"v1": "9223372036854771712\n"}, MACHINE),
        ({"v2": "1073741824\n"}, 2**30),
        ({"v1": "1073741824\n"}, 2**30),
        ({"v2": ""}, MACHINE),
    ],
)
def test_a_container_may_have_less_memory_than_the_machine(machine, contents, total):
    machine(**contents)
    assert memory.total_memory() == total
    memory.require_memory(total, "a model")
    with pytest.raises(EngineError, match=f"a model needs .* GiB of memory, this machine has {total / 2**30:.1f} GiB"):
        memory.require_memory(total + 1, "a model")


@pytest.mark.parametrize(
    ("contents", "free"),
    [
        ({"meminfo": "MemTotal: 8388608 kB\nMemAvailable:  4096 kB\n"}, 2**22),
        ({"meminfo": "MemAvailable:  4194304 kB\n", "v2": "1073741824"}, 2**30),
        ({"meminfo": "MemTotal: 8388608 kB\n"}, MACHINE),
        ({"meminfo": "nothing to see"}, MACHINE),
        ({"v2": "1073741824"}, 2**30),
    ],
)
def test_free_memory_is_never_more_than_there_is(machine, contents, free):
    machine(**contents)
    assert memory.free_memory() == free


def test_unknown_memory_rejects_nothing(machine, monkeypatch):
    def unknown(_):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(memory.os, "sysconf", unknown)
    assert memory.total_memory() is None
    assert memory.free_memory() is None
    memory.require_memory(2**62, "a model")


def test_this_machine_reports_its_memory():
    if Path("/proc/meminfo").exists():
        assert 0 < memory.free_memory() <= memory.total_memory()
