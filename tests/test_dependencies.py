"""Dependencies of a plain installation on each platform."""

import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
MAC = {"sys_platform": "darwin", "platform_machine": "arm64"}
OLD_MAC = {"sys_platform": "darwin", "platform_machine": "x86_64"}
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}


def names(requirements, machine):
    environment = default_environment() | machine
    wanted = map(Requirement, requirements)
    return {each.name for each in wanted if each.marker is None or each.marker.evaluate(environment)}


@pytest.mark.parametrize(
    ("machine", "engine", "absent"), [(MAC, "mlx", "torch"), (OLD_MAC, "torch", "mlx"), (LINUX, "torch", "mlx")]
)
def test_a_plain_installation_has_only_the_engine_of_the_platform(machine, engine, absent):
    found = names(tomllib.loads(PROJECT.read_text())["project"]["dependencies"], machine)
    assert engine in found
    assert not {absent, "transformers"} & found


def test_mlx_on_linux_uses_the_cpu_build():
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]["mlx"]
    (wanted,) = (each for each in map(Requirement, extras) if each.marker.evaluate(default_environment() | LINUX))
    assert wanted.extras == {"cpu"}
