"""Allowed ranges of the numbers in recipes, far wider than any recipe needs."""

from __future__ import annotations

from typing import Annotated

from soundloom.config.ranges import Within
from soundloom.errors import ConfigError, shown

Steps = Annotated[int, Within(0, 1_000_000_000)]
Count = Annotated[int, Within(1, 1_000_000_000)]  # of steps
BatchSize = Annotated[int, Within(1, 65_536)]
Clips = Annotated[int, Within(1, 1_000_000)]  # of the synthetic dataset, all of whose labels are read
Seed = Annotated[int, Within(0, 2**63 - 1)]
LearningRate = Annotated[float, Within(0, 100)]
LRScale = Annotated[float, Within(0, 1000)]  # multiple of the loop's learning rate
Beta = Annotated[float, Within(0, 0.999999)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0, 1e6)]  # of a term of a loss
WindowSamples = Annotated[int, Within(16, 65_536)]
Overlap = Annotated[int, Within(1, 16)]  # windows that cover each sample
Width = Annotated[int, Within(1, 8192)]  # channels of a layer
Blocks = Annotated[int, Within(1, 64)]
Size = Annotated[int, Within(0, 1_000_000)]
Factor = Annotated[float, Within(0.01, 1e9)]
Power = Annotated[float, Within(-2, 2)]  # of frequency
Hertz = Annotated[float, Within(1, 400_000)]
Seconds = Annotated[float, Within(0, 600)]
LogSNR = Annotated[float, Within(-50, 50)]


def require_pair(name: str, values: tuple[float, ...], *, rising: bool = False) -> None:
    """Raise ConfigError unless `values` are two numbers, in order if `rising`."""
    if len(values) != 2 or (rising and values[0] > values[1]):
        wanted = "a minimum and a maximum" if rising else "two numbers"
        raise ConfigError(f"{name} must be {wanted}, found {shown(list(values))}")


def require_windows(name: str, windows: tuple[int, ...]) -> None:
    """Raise ConfigError unless there are window sizes and all of them are even."""
    if not windows or any(size % 2 for size in windows):
        raise ConfigError(f"{name} must be even numbers of samples, found {shown(list(windows))}")
