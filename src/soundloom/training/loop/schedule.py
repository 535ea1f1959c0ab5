"""Learning rate schedules."""

from __future__ import annotations

import math

from soundloom.training.config import LoopConfig


def learning_rate(step: int, config: LoopConfig) -> float:
    """Return the learning rate of a step by the schedule of the configuration."""
    if config.schedule == "inverse":
        warmup = 1 - config.inverse_warmup ** (step + 1)
        decayed = config.learning_rate * (1 + step / config.inverse_gamma) ** -config.inverse_power
        return warmup * max(config.final_learning_rate, decayed)
    if config.schedule == "constant":
        return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
    length = config.steps // config.cycles
    cycle = min(step // max(1, length), config.cycles - 1)
    step, peak = step - cycle * length, config.learning_rate * 0.5**cycle
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, length - config.warmup_steps)
    decay = (1 + math.cos(math.pi * min(share, 1.0))) / 2
    return config.final_learning_rate + (peak - config.final_learning_rate) * decay
