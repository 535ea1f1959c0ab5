"""SentencePiece tokens of a prompt, as the published text encoders take them: no begin, no end, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.errors import FETCH_AGAIN, CheckpointError, shown


def load_pieces(model: bytes, vocabulary: int | None = None) -> Any:
    """Load a SentencePiece model, given as the bytes of its file, for a text encoder that knows so many tokens.

    Raises CheckpointError where it is none, or has more tokens than the text encoder.
    """
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        if not model or not processor.LoadFromSerializedProto(model):
            raise CheckpointError("the tokenizer's file is empty or no SentencePiece model", FETCH_AGAIN)
        pieces = processor.GetPieceSize()
    except (RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"the tokenizer is not a SentencePiece model ({shown(str(error))})", FETCH_AGAIN
        ) from error
    if vocabulary is not None and pieces > vocabulary:
        raise CheckpointError(f"the tokenizer has {pieces} tokens, the text encoder only {vocabulary}", FETCH_AGAIN)
    return processor


@dataclass(frozen=True)
class Tokens:
    """Token ids (prompts, length), int64, their mask, bool, and for each prompt the text that did not fit."""

    ids: np.ndarray
    mask: np.ndarray
    truncated: tuple[str, ...]

    def first(self, count: int) -> Tokens:
        """Return so many tokens of each prompt."""
        return Tokens(self.ids[:, :count], self.mask[:, :count], self.truncated)


class Tokenizer:
    """A SentencePiece model, given as the bytes of its file."""

    def __init__(self, model: bytes, pad_id: int = 0, vocabulary: int | None = None) -> None:
        self._processor = load_pieces(model, vocabulary)
        self._pad_id = pad_id

    def __call__(self, prompts: Sequence[str], length: int) -> Tokens:
        """Tokenize prompts into rows of `length` ids."""
        ids = np.full((len(prompts), length), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(prompts), length), dtype=bool)
        truncated = []
        for row, prompt in enumerate(prompts):
            pieces = self._processor.encode(prompt)
            kept = pieces[:length]
            ids[row, : len(kept)], mask[row, : len(kept)] = kept, True
            truncated.append(self._processor.decode(pieces[length:]) if len(pieces) > length else "")
        return Tokens(ids, mask, tuple(truncated))

    def is_token(self, word: str) -> bool:
        """Whether a word is one piece of the vocabulary."""
        pieces = self._processor.encode(word)
        return len(pieces) == 1 and pieces[0] != self._processor.unk_id()

    def text(self, ids: Sequence[int]) -> str:
        """Return the prompt that was tokenized to these ids, as far as the model keeps it."""
        return str(self._processor.decode(list(ids)))
