"""One training loop for all stages: optimiser, schedule, average, and a state that resumes bit for bit.

All chance in a step comes from the step's own number and the seed, so a position in the run is one integer: there is
no generator state to keep, and the data position is the same integer.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from soundloom.atomic import atomic_file
from soundloom.errors import TrainingError
from soundloom.training.config import LoopConfig

log = logging.getLogger(__name__)

STATE_FILE, JOURNAL_FILE = "state.pt", "journal.jsonl"
GROUPS_PER_TURN = 2  # of the optimiser: matrices and the rest
SHARED_NAMES = ("loss", "gradient")  # values of every turn: where it is not the first, its name comes before them
EMA_POWER = 0.75  # the average warms up: at update k it keeps at most 1 - (1 + k) ** -0.75


class Stage(Protocol):
    """What the loop trains: a module, and its losses at a step, of which "loss" is the one to minimise."""

    @property
    def module(self) -> nn.Module:
        """All that is trained, and what belongs to its state."""
        ...

    def losses(self, step: int, draws: Draws) -> dict[str, Tensor]:
        """Compute the losses of one step."""
        ...


@dataclass(frozen=True)
class Turn:
    """Modules that are trained together, in steps of their own while all others rest."""

    name: str
    modules: tuple[nn.Module, ...]
    rate: float = 1.0  # of the loop's learning rate
    betas: tuple[float, ...] = ()  # none means the loop's


@runtime_checkable
class AlternatingStage(Stage, Protocol):
    """A stage whose steps train one part or another, such as a generator and its discriminators.

    `losses` gives those of the step's turn, "loss" being the one that its modules minimise.
    """

    @property
    def companions(self) -> nn.Module:
        """What is trained beside the module and needed no longer at the end: kept in the state, not averaged."""
        ...

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All parts, which share no module; the module itself belongs to the first."""
        ...

    def turn(self, step: int) -> Turn:
        """Whose step this is."""
        ...


class Draws:
    """All chance of one step, from (seed, step) alone: a NumPy generator, and tensors drawn from it."""

    def __init__(self, seed: int, step: int) -> None:
        self.rng = np.random.Generator(np.random.Philox(key=[seed, step]))

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal noise, float32."""
        return torch.from_numpy(self.rng.standard_normal(shape, dtype=np.float32))

    def uniform(self, *shape: int) -> Tensor:
        """Draw from [0, 1), float32."""
        return torch.from_numpy(self.rng.random(shape, dtype=np.float32))


class Run:
    """A stage on its way: module, optimiser and average at a step, kept in a file of its folder."""

    def __init__(self, stage: Stage, config: LoopConfig, folder: Path) -> None:
        self.stage, self.config, self.folder = stage, config, folder
        self.step = 0
        if isinstance(stage, AlternatingStage):
            self.companions, self.turns = stage.companions, stage.turns
        else:
            self.companions, self.turns = nn.Module(), (Turn("", (stage.module,)),)
        self.trained = {turn.name: _trainable(turn.modules) for turn in self.turns}
        self.average = {name: p.detach().clone() for name, p in stage.module.named_parameters() if p.requires_grad}
        self.optimiser = torch.optim.AdamW(self._groups(), lr=config.learning_rate)
        if self.state_path.exists():
            self._restore(torch.load(self.state_path, weights_only=True))

    @property
    def state_path(self) -> Path:
        return self.folder / STATE_FILE

    @property
    def finished(self) -> bool:
        return self.step >= self.config.steps

    def train(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until asked to stop between two steps; say whether the end is reached.

        Raises TrainingError when a loss is not finite; the state on disk is then the last good one.
        """
        self.stage.module.train()
        started, first = time.monotonic(), self.step
        recent: list[dict[str, float]] = []
        while not self.finished and not until():
            recent.append(self._advance())
            if self.step % self.config.log_every == 0 or self.finished:
                pace = (time.monotonic() - started) / (self.step - first)
                self._journal(_means(recent), pace)
                recent.clear()
            if self.step % self.config.save_every == 0:
                self.save()
        self.save()
        return self.finished

    def save(self) -> None:
        """Write the state; a kill at any moment leaves the old one or the new one."""
        with atomic_file(self.state_path) as file:
            torch.save(
                {
                    "step": self.step,
                    "module": self.stage.module.state_dict(),
                    "companions": self.companions.state_dict(),
                    "average": self.average,
                    "optimiser": self.optimiser.state_dict(),
                },
                file,
            )

    def load_average(self) -> None:
        """Put the averaged weights into the module, which ends the training of it."""
        self.stage.module.load_state_dict(self.average, strict=False)

    def _advance(self) -> dict[str, float]:
        turn = self.stage.turn(self.step) if isinstance(self.stage, AlternatingStage) else self.turns[0]
        trained = self.trained[turn.name]
        self._set_rates()
        self.optimiser.zero_grad(set_to_none=True)
        resting = (p for name, group in self.trained.items() if name != turn.name for p in group)
        with _frozen(resting):  # they get no gradient, so the optimiser passes them over
            losses = self.stage.losses(self.step, Draws(self.config.seed, self.step))
            losses["loss"].backward()
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        values["gradient"] = float(nn.utils.clip_grad_norm_(trained, self.config.clip_norm))
        self._require_finite(values)
        self.optimiser.step()
        self.step += 1
        if turn.name == self.turns[0].name:
            self._update_average()
            return values
        return {f"{turn.name} {name}" if name in SHARED_NAMES else name: value for name, value in values.items()}

    def _set_rates(self) -> None:
        rate = learning_rate(self.step, self.config)
        factors = (turn.rate for turn in self.turns for _ in range(GROUPS_PER_TURN))
        for group, factor in zip(self.optimiser.param_groups, factors, strict=True):
            group["lr"] = factor * rate

    def _update_average(self) -> None:
        keep = min(self.config.ema, 1 - (1 + self.step) ** -EMA_POWER)
        parameters = dict(self.stage.module.named_parameters())
        with torch.no_grad():
            for name, average in self.average.items():
                average.lerp_(parameters[name], 1 - keep)

    def _require_finite(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise TrainingError(
                f"training stopped at step {self.step}: not finite: {', '.join(bad)}",
                f"lower the learning rate and resume; {self.state_path} holds the last good state",
            )

    def _journal(self, values: dict[str, float], pace: float) -> None:
        """Add the means of recent steps to the folder's journal and tell how long the rest takes."""
        record = {"step": self.step} | {name: round(value, 5) for name, value in values.items()}
        with (self.folder / JOURNAL_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        left = pace * (self.config.steps - self.step) / 60
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        log.info("step %d of %d: %s; %.0f min left", self.step, self.config.steps, text, left)

    def _groups(self) -> list[dict[str, Any]]:
        """Of each turn, parameters that decay, the matrices, and those that do not."""
        groups = []
        for turn in self.turns:
            first, second = turn.betas or self.config.betas
            matrices = [p for p in self.trained[turn.name] if p.ndim >= 2]
            others = [p for p in self.trained[turn.name] if p.ndim < 2]
            for parameters, decay in ((matrices, self.config.weight_decay), (others, 0.0)):
                groups.append({"params": parameters, "weight_decay": decay, "betas": (first, second)})
        return groups

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.stage.module.load_state_dict(state["module"])
        self.companions.load_state_dict(state.get("companions", {}))  # older states have none
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]


def _trainable(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Compute no gradients of these parameters, which saves the work and leaves them without any."""
    held = list(parameters)
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the records that have it; steps of different turns have different ones."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: fmean(record[name] for record in records if name in record) for name in names}


def learning_rate(step: int, config: LoopConfig) -> float:
    """Rate at a step: a straight line up, then half a cosine down."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    fall = (1 + math.cos(math.pi * min(share, 1.0))) / 2
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * fall


def read_journal(folder: Path) -> Iterator[dict[str, float]]:
    """Records of a run in order of steps; what was repeated after a kill counts once."""
    lines = (folder / JOURNAL_FILE).read_text(encoding="utf-8").splitlines()
    records = {record["step"]: record for record in map(json.loads, lines)}
    yield from (records[step] for step in sorted(records))
