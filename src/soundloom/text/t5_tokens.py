"""T5's tokenizer: SentencePiece tokens with an end token, padded on the right to the longest prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundloom.config.musicgen.model import T5Config
from soundloom.text.tokenizer import Tokens, load_pieces


class T5Tokenizer:
    """Tokenizes prompts with a SentencePiece model, given as the bytes of its file."""

    def __init__(self, model: bytes, config: T5Config) -> None:
        self._processor = load_pieces(model, config.vocab_size)
        self._config = config

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Tokenize prompts without truncation."""
        rows = [[*self._processor.encode(prompt), self._config.eos_token_id] for prompt in prompts]
        length = max(map(len, rows))
        ids = np.full((len(rows), length), self._config.pad_token_id, dtype=np.int64)
        for row, pieces in enumerate(rows):
            ids[row, : len(pieces)] = pieces
        mask = np.arange(length) < np.array([[len(pieces)] for pieces in rows])
        return Tokens(ids, mask, ("",) * len(rows))
