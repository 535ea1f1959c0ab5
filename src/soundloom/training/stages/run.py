"""Run one training stage: start or resume it, log it, and save its weights when it finishes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from soundloom.config.parse import to_dict
from soundloom.errors import TrainingError
from soundloom.training.loop.checkpoint import STATE_FILE
from soundloom.training.loop.guards import write_divergence
from soundloom.training.loop.logging import Preview
from soundloom.training.loop.task import TrainingTask
from soundloom.training.loop.tensorboard import TensorBoard
from soundloom.training.loop.trainer import Trainer
from soundloom.training.stages.context import StageContext

log = logging.getLogger(__name__)


def run_stage(
    context: StageContext,
    name: str,
    config: Any,
    build: Callable[[bool], tuple[TrainingTask, Preview | None]],
    finish: Callable[[dict[str, Tensor]], None] | None = None,
) -> bool:
    """Train a stage with the loop of its configuration; return whether it is finished.

    `build` returns the task and its preview; it initializes weights if called with True, as at the start of training.
    `finish` saves the EMA weights where a stage does more than that.
    """
    run_dir, distributed = context.run_dir, context.distributed
    known, settings = run_dir.settings(name), json.loads(json.dumps(to_dict(config)))
    if run_dir.weights(name).is_file() and known == settings and not context.restart:
        return True
    folder = run_dir.stage_folder(name)
    fresh = context.restart or not (folder / STATE_FILE).is_file()
    torch.manual_seed(config.loop.seed)
    task, preview = build(fresh)
    if context.restart:
        if distributed.is_main:
            run_dir.remove(name)
        distributed.any_rank(False)  # all processes wait for the removal
    if distributed.is_main:
        for change in run_dir.changes(name, settings):
            log.info("%s resumes with other settings: %s", name, change)
        run_dir.weights(name).unlink(missing_ok=True)  # of the earlier settings
        run_dir.save_settings(name, settings)
    tensorboard = TensorBoard(
        run_dir.logs(name),
        context.model.sample_rate,
        None if distributed.config.shard else preview,  # one process cannot run a sharded model alone
        config.loop.preview_every,
    )
    trainer = Trainer(task, config.loop, folder, distributed, [*context.callbacks(name), tensorboard])
    try:
        is_finished = trainer.train(context.until)
    except TrainingError as error:
        if distributed.is_main:
            write_divergence(folder, error)
        raise
    if not is_finished:
        return False
    weights = trainer.result()
    if distributed.is_main:
        finish(weights) if finish else run_dir.save_weights(name, weights)
        write_divergence(folder, None)
    return True
