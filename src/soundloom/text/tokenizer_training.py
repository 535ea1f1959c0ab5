"""Train SentencePiece models."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any


def train_sentencepiece(sentences: Iterable[str], vocabulary: int, **settings: Any) -> bytes:
    """Return a SentencePiece model of at most `vocabulary` pieces, with padding as id 0 and the end as id 1.

    `settings` are options of SentencePieceTrainer. Raises RuntimeError when it cannot be trained.
    """
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        num_threads=1,
        minloglevel=2,
        **settings,
    )
    return model.getvalue()
