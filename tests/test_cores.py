"""Usable cores: affinity, physical cores and the quota of a container, from fake system files."""

import os

import pytest

from soundloom import cores
from soundloom.cores import Cores, count_cores

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
V1_DOCKER = "32 31 0:29 /docker/ab /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
GROUP = "sys/fs/cgroup"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that counts the cores of a machine with these files, processors and siblings."""

    def count(files=(), cores_of=("0", "1", "2", "3"), allowed=None):
        found = dict(files)
        for cpu, siblings in enumerate(cores_of):
            found[f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"] = siblings + "\n"
        for name, text in found.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        ours = set(range(len(cores_of)) if allowed is None else allowed)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: ours, raising=False)
        return count_cores(tmp_path)

    return count


def grouped(group, mount, **limits):
    """Return the files of a process in a control group, and the limits of groups by folder."""
    files = {"proc/self/cgroup": group + "\n", "proc/self/mountinfo": f"{V1_MEMORY}\n{mount}\n"}
    return files | {f"{GROUP}/{name}": text for name, text in limits.items()}


def test_every_core_counts_without_limits(machine):
    assert machine() == Cores(4, 4)
    assert machine().usable == 4


def test_two_processors_of_a_core_count_once(machine):
    found = machine(cores_of=("0,2", "1,3", "0,2", "1,3"))
    assert (found.allowed, found.usable) == (4, 2)


@pytest.mark.parametrize(("allowed", "usable"), [({0}, 1), ({0, 2}, 1), ({0, 1}, 2), ({1, 2, 3}, 2)])
def test_only_cores_in_the_affinity_count(machine, allowed, usable):
    found = machine(cores_of=("0,2", "1,3", "0,2", "1,3"), allowed=allowed)
    assert (found.allowed, found.usable) == (len(allowed), usable)


def test_processors_count_where_the_topology_is_unknown(machine):
    assert machine(cores_of=(), allowed={0, 1, 5}).usable == 3


@pytest.mark.parametrize(
    ("quota", "usable"),
    [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 4)],
)
def test_the_quota_of_a_group_is_rounded_up(machine, quota, usable):
    assert machine(grouped("0::/a", V2, **{"a/cpu.max": quota})).usable == usable


def test_the_lowest_quota_of_nested_groups_counts(machine):
    limits = {"a/cpu.max": "100000 100000", "a/b/cpu.max": "300000 100000", "a/b/c/cpu.max": "max 100000"}
    assert machine(grouped("0::/a/b/c", V2, **limits)).quota == 1


def test_quotas_of_other_groups_do_not_count(machine):
    assert machine(grouped("0::/a", V2, **{"b/cpu.max": "100000 100000"})).quota is None


def test_version_1_has_two_files(machine):
    limits = {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}
    assert machine(grouped("4:memory:/\n3:cpu,cpuacct:/a\n0::/", V1, **limits)).quota == 3
    unlimited = limits | {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1"}
    assert machine(grouped("3:cpu,cpuacct:/a", V1, **unlimited)).quota is None


@pytest.mark.parametrize("group", ["/docker/ab", "/", "/../other", "/docker/cd"])
def test_a_container_sees_its_own_group_at_the_mount(machine, group):
    limits = {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}
    assert machine(grouped(f"3:cpu:{group}", V1_DOCKER, **limits)).quota == 1.5


@pytest.mark.parametrize("quota", ["", "100000", "many 100000", "100000 0x"])
def test_unknown_forms_are_no_limit(machine, quota):
    assert machine(grouped("0::/", V2, **{"cpu.max": quota})).usable == 4
    assert machine({"proc/self/cgroup": "0\n", "proc/self/mountinfo": "1 2\n"}).usable == 4


def test_cores_are_unknown_on_other_systems(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores.count_cores() is None


def test_the_text_says_what_limits_them():
    assert str(Cores(4, 2)) == "2 (allowed: 4 processors, 2 physical cores)"
    assert str(Cores(4, 2, 0.5)) == "1 (allowed: 4 processors, 2 physical cores, quota of 0.5)"
