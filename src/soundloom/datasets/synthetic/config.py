"""Which clips of the synthetic world a model is trained and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from soundloom.config.ranges import Ranged, Within
from soundloom.datasets.synthetic.families import FAMILIES
from soundloom.errors import ConfigError, shown

SOUNDS_FILE = "sounds.toml"  # in a model's folder: what the model was taught, as `SoundsConfig`


@dataclass(frozen=True)
class SoundsConfig(Ranged):
    """Which clips of the synthetic world are trained on; no families means all of them."""

    clips: Annotated[int, Within(1, 1_000_000)]  # the labels of all are looked at
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0
    families: tuple[str, ...] = ()
    even: bool = False  # as many clips of each family, instead of more of those that the world has more of
    scenes: bool = True  # clips of two sources
    reverb: bool = True
    seconds: tuple[Annotated[float, Within(0.05, 600)], ...] = (1.0, 6.0)
    plain: bool = False  # what captions need not name is the same in all clips; lengths fill all of `seconds`
    tuned_to: Annotated[int, Within(0, 1_000_000)] = (
        0  # samples of a latent: pitches and beats are moved until latents repeat; 0 leaves them
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.families) - set(FAMILIES):
            named = ", ".join(sorted(unknown))
            raise ConfigError(f"no such families of sounds: {shown(named)}", f"known: {', '.join(FAMILIES)}")
        if len(self.seconds) != 2 or not 0 < self.seconds[0] <= self.seconds[1]:
            raise ConfigError(f"seconds must be a shortest and a longest length, found {list(self.seconds)}")
