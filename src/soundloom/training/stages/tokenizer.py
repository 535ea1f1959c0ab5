"""Train the tokenizer on captions."""

from __future__ import annotations

import logging

from soundloom.atomic import atomic_file
from soundloom.config.parse import to_dict
from soundloom.training.config import TokenizerConfig
from soundloom.training.data.captions import train_tokenizer
from soundloom.training.stages.context import StableAudioContext

log = logging.getLogger(__name__)


def run(context: StableAudioContext, config: TokenizerConfig) -> bool:
    """Train a SentencePiece model, unless there is one."""
    run_dir = context.run_dir
    if not context.distributed.is_main:
        return True
    settings = {"tokenizer": to_dict(config), "sounds": to_dict(context.sound_settings)}
    if run_dir.tokenizer.is_file() and not context.restart:
        for change in run_dir.changes("tokenizer", settings):
            log.warning("the tokenizer was trained with other settings: %s; --restart replaces it", change)
        return True
    model = train_tokenizer(context.sounds(), config)
    with atomic_file(run_dir.tokenizer) as file:
        file.write(model)
    run_dir.save_settings("tokenizer", settings)
    return True
