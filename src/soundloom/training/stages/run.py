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
from soundloom.training.loop.checkpoint import STATE_FILE
from soundloom.training.loop.guards import write_divergence
from soundloom.training.loop.task import TrainingTask
from soundloom.training.loop.tensorboard import TensorBoard
from soundloom.training.loop.trainer import Trainer
from soundloom.training.stages.context import StageContext
from soundloom.training.stages.previews import Preview

log = logging.getLogger(__name__)


def run_stage(
    context: StageContext,
    name: str,
    config: Any,
    loop: LoopConfig,
    build: Callable[[bool], tuple[TrainingTask, Preview | None]],
    finish: Callable[[dict[str, Tensor]], None] | None = None,
) -> bool:
    """Begin or continue a stage; say whether it is finished, its averaged weights being kept then.

    `build` makes the stage, with weights to begin from if it is told that this is the beginning, and its preview.
    `finish` keeps the weights where more is to be done than that.
    """
    known, settings = context.run_dir.settings(name), json.loads(json.dumps(to_dict(config)))
    if context.run_dir.trained(name).is_file() and known == settings and not context.anew:
        return True
    folder = context.run_dir.stage_folder(name)
    fresh = context.anew or not (folder / STATE_FILE).is_file()
    torch.manual_seed(loop.seed)
    task, preview = build(fresh)
    if context.anew:
        if context.distributed.is_main:
            context.run_dir.forget(name)
        context.distributed.any_rank(False)  # no other process looks for it before that is done
    if context.distributed.is_main:
        for change in context.run_dir.changes(name, settings):
            log.info("%s goes on with other settings: %s", name, change)
        context.run_dir.trained(name).unlink(missing_ok=True)  # of the settings before
        context.run_dir.keep_settings(name, settings)
    logs = TensorBoard(
        context.run_dir.logs(name),
        context.model.sample_rate,
        None if context.distributed.config.shard else preview,  # which one process alone cannot compute
        loop.preview_every,
    )
    trainer = Trainer(task, loop, folder, context.distributed, [*context.callbacks(name), logs])
    try:
        is_finished = trainer.train(context.until)
    except TrainingError as error:
        if context.distributed.is_main:
            write_divergence(folder, error)
        raise
    if not is_finished:
        return False
    state = trainer.result()
    if context.distributed.is_main:
        finish(state) if finish else context.run_dir.keep_trained(name, state)
        write_divergence(folder, None)
    return True
