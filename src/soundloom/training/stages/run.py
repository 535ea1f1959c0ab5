"""The course of any stage that trains: begun or taken up again, watched, and its weights kept when it is finished."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from soundloom.config.parse import to_dict
from soundloom.errors import TrainingError
from soundloom.training.config import LoopConfig
from soundloom.training.loop.guards import note_stop
from soundloom.training.loop.loop import STATE_FILE, Run, Stage
from soundloom.training.loop.tensorboard import TensorBoard
from soundloom.training.stages.job import Task
from soundloom.training.stages.previews import Preview

log = logging.getLogger(__name__)


def train_stage(
    task: Task,
    name: str,
    config: Any,
    loop: LoopConfig,
    build: Callable[[bool], tuple[Stage, Preview | None]],
    finish: Callable[[dict[str, Tensor]], None] | None = None,
) -> bool:
    """Begin or continue a stage; say whether it is finished, its averaged weights being kept then.

    `build` makes the stage, with weights to begin from if it is told that this is the beginning, and its preview.
    `finish` keeps the weights where more is to be done than that.
    """
    known, settings = task.work.settings(name), json.loads(json.dumps(to_dict(config)))
    if task.work.trained(name).is_file() and known == settings and not task.anew:
        return True
    folder = task.work.stage(name)
    fresh = task.anew or not (folder / STATE_FILE).is_file()
    torch.manual_seed(loop.seed)
    stage, preview = build(fresh)
    if task.anew:
        if task.machine.is_first:
            task.work.forget(name)
        task.machine.decided(False)  # no other process looks for it before that is done
    if task.machine.is_first:
        for change in task.work.changes(name, settings):
            log.info("%s goes on with other settings: %s", name, change)
        task.work.trained(name).unlink(missing_ok=True)  # of the settings before
        task.work.keep_settings(name, settings)
    logs = TensorBoard(
        task.work.logs(name),
        task.model.sample_rate,
        None if task.machine.config.shard else preview,  # which one process alone cannot compute
        loop.preview_every,
    )
    run = Run(stage, loop, folder, task.machine, [*task.observe(name), logs])
    try:
        is_finished = run.train(task.until)
    except TrainingError as error:
        if task.machine.is_first:
            note_stop(folder, error)
        raise
    if not is_finished:
        return False
    state = run.result()
    if task.machine.is_first:
        finish(state) if finish else task.work.keep_trained(name, state)
        note_stop(folder, None)
    return True
