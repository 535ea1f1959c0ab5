"""SentencePiece tokens of prompts for the published text encoders: no begin or end tokens, padded on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.errors import FETCH_AGAIN, CheckpointError, shown


def load_pieces(model: bytes, vocabulary: int | None = None) -> Any:
    """Load a SentencePiece model from the bytes of its file, for a text encoder with `vocabulary` tokens.

    Raises CheckpointError for other data, or a model with more tokens than the text encoder.
    """
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        if not model or not processor.LoadFromSerializedProto(model):
            raise CheckpointError("the tokenizer's file is empty or not a SentencePiece model", FETCH_AGAIN)
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
    """Token ids (prompts, length), int64, their mask, bool, and the text that was truncated from each prompt."""

    ids: np.ndarray
    mask: np.ndarray
    truncated: tuple[str, ...]

    def first(self, count: int) -> Tokens:
        """Return the first `count` tokens of each prompt."""
        return Tokens(self.ids[:, :count], self.mask[:, :count], self.truncated)


class Tokenizer:
    """Tokenizes prompts with a SentencePiece model, given as the bytes of its file."""

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
            fitting = pieces[:length]
            ids[row, : len(fitting)], mask[row, : len(fitting)] = fitting, True
            truncated.append(self._processor.decode(pieces[length:]) if len(pieces) > length else "")
        return Tokens(ids, mask, tuple(truncated))

    def is_token(self, word: str) -> bool:
        """Return whether a word is a single known token."""
        pieces = self._processor.encode(word)
        return len(pieces) == 1 and pieces[0] != self._processor.unk_id()

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return the characters (start, end) of a text that each of its tokens stands for."""
        # The only form with offsets that every version of SentencePiece has, in bytes of UTF-8.
        spans = read_spans(self._processor.encode(text, out_type="serialized_proto"))
        sizes = [len(character.encode()) for character in text]
        character_at = np.repeat(np.arange(len(text) + 1), [*sizes, 1])
        return [(int(character_at[start]), int(character_at[end])) for start, end in spans]

    def text(self, ids: Sequence[int]) -> str:
        """Decode token ids to text, up to the normalization of the SentencePiece model."""
        return str(self._processor.decode(list(ids)))


# Fields of SentencePiece's messages: the pieces of a text, and the first and last byte of a piece.
_PIECES, _BEGIN, _END = 2, 4, 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def read_spans(message: bytes) -> list[tuple[int, int]]:
    """Return (begin, end) of each piece in a serialized SentencePieceText; no need for the protobuf package."""
    spans = []
    for field, piece in _fields(message):
        if field == _PIECES and isinstance(piece, bytes):
            values = dict(_fields(piece))
            spans.append((int(values.get(_BEGIN, 0)), int(values.get(_END, 0))))
    return spans


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer: their numbers, and their integers or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind, value = key & 7, 0
        if kind in (_VARINT, _BYTES):
            value, place = _varint(message, place)
        size = value if kind == _BYTES else {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        yield key >> 3, value if kind == _VARINT else message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return the integer at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
