"""Count the CPU cores that this process may use: physical cores in its affinity, within the quota of its container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


@dataclass(frozen=True)
class Cores:
    """The processors (hardware threads) that this process may run on, their physical cores, and its quota in cores."""

    allowed: int
    physical: int
    quota: float | None = None  # of processor time, for the whole container

    @property
    def usable(self) -> int:
        return self.physical if self.quota is None else max(1, min(self.physical, math.ceil(self.quota)))

    def __str__(self) -> str:
        quota = "" if self.quota is None else f", quota of {self.quota:g}"
        return f"{self.usable} (allowed: {self.allowed} processors, {self.physical} physical cores{quota})"


def count_cores(root: Path = _ROOT) -> Cores | None:
    """Return the cores of this process. None except on Linux. `root` is where /proc and /sys are."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    return Cores(len(allowed), len({_siblings(root, cpu) for cpu in allowed}), _quota(root))


def _siblings(root: Path, cpu: int) -> str:
    """Return a name of the physical core of a processor: the list of processors on it, or its own number if unknown."""
    try:
        return _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    except OSError:
        return str(cpu)


def _quota(root: Path) -> float | None:
    """Return the quota of the control groups of this process, in cores; None without one."""
    try:
        limits = [limit for folder in _control_groups(root) for limit in _limits(folder)]
    except (OSError, ValueError, LookupError):  # not mounted, or of an unknown form
        return None
    return min(limits, default=None)


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, each with those above it."""
    lines = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines()]
    groups = {controller: group for _, controllers, group in lines for controller in controllers.split(",")}
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split()[:3]
        controller = {"cgroup": "cpu", "cgroup2": ""}.get(kind)
        if controller not in groups or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        mounted, place = mount.split()[3:5]
        top = root / place.lstrip("/")
        group = PurePosixPath(groups[controller])
        # In a container, the path may be one outside, where the mount shows only the container's own group.
        inside = group.is_relative_to(mounted) and ".." not in group.parts
        folder = top / group.relative_to(mounted) if inside else top
        yield from (folder, *(parent for parent in folder.parents if parent.is_relative_to(top)))


def _limits(folder: Path) -> Iterator[float]:
    """Yield the quota of one control group, of version 2 or 1, in cores."""
    if (file := folder / "cpu.max").is_file():
        quota, period = _read(file).split()
    elif (file := folder / "cpu.cfs_quota_us").is_file():
        quota, period = _read(file), _read(folder / "cpu.cfs_period_us")
    else:
        return
    if quota not in ("max", "-1"):
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()
