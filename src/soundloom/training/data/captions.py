"""Captions of clips, and a SentencePiece tokenizer trained on them."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import temporary_folder
from soundloom.errors import TrainingError
from soundloom.text.tokenizer import Tokenizer
from soundloom.text.tokenizer_training import train_sentencepiece
from soundloom.training.config import TokenizerConfig
from soundloom.training.data.protocols import CaptionedClips

MAX_CAPTIONS = 8  # of a clip
PUNCTUATION = [",", ".", ":"]  # separate pieces, so that a word is the same before a comma


@dataclass(frozen=True)
class Unlabeled:
    """The label of clips outside the synthetic dataset."""

    family: str = ""


class CaptionList:
    """Captions of clips, repeated so that each clip has equally many; a clip without any has an empty caption."""

    def __init__(self, captions: Iterable[Sequence[str]]) -> None:
        given = [tuple(some[:MAX_CAPTIONS]) or ("",) for some in captions]
        most = max(map(len, given), default=1)
        self._captions = [tuple(islice(cycle(some), most)) for some in given]

    def __len__(self) -> int:
        return len(self._captions)

    def captions(self, position: int) -> tuple[str, ...]:
        return self._captions[position]

    def labels(self, position: int) -> Unlabeled:
        return Unlabeled()


def train_tokenizer(clips: CaptionedClips, config: TokenizerConfig) -> bytes:
    """Train a case-insensitive byte-pair vocabulary on the captions of the first clips.

    Numbers and notes such as "120" and "f#3" may become single pieces, so that a small encoder need not spell them.
    Raises TrainingError when the captions do not allow a vocabulary of this size.
    """
    positions = range(min(len(clips), config.clips))
    with temporary_folder() as folder:
        # SentencePiece's nmt_nfkc_cf rules would add 240 KB to the model file, so fold only ASCII.
        rules = folder / "lower_case.tsv"
        rules.write_text("".join(f"{ord(letter):X}\t{ord(letter.lower()):X}\n" for letter in string.ascii_uppercase))
        try:
            return train_sentencepiece(
                (caption for position in positions for caption in clips.captions(position)),
                config.vocabulary_size,
                model_type="bpe",
                normalization_rule_tsv=str(rules),
                user_defined_symbols=PUNCTUATION,
                split_by_number=False,
                split_by_unicode_script=False,
                bos_id=2,
                unk_id=3,
            )
        except RuntimeError as error:
            raise TrainingError(
                f"cannot train a vocabulary of {config.vocabulary_size} pieces on these captions: {error}",
                "clips need captions, and the vocabulary must have room for all their characters",
            ) from error


def vocabulary_size(model: bytes) -> int:
    """Return the number of pieces of a SentencePiece model."""
    from sentencepiece import SentencePieceProcessor

    return int(SentencePieceProcessor(model_proto=model).vocab_size())


class CaptionTokens:
    """Token ids and masks (clips, captions, length) of all captions, and the families of the clips."""

    def __init__(self, clips: CaptionedClips, tokenizer: Tokenizer, length: int) -> None:
        positions = range(len(clips))
        captions = [clips.captions(position) for position in positions]
        tokens = tokenizer([text for clip in captions for text in clip], length)
        shape = (len(captions), len(captions[0]), length)
        self.ids = tokens.ids.astype(np.int32).reshape(shape)
        self.mask = tokens.mask.reshape(shape)
        self.families = np.array([clips.labels(position).family for position in positions])

    def sample(self, clips: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Sample one caption of each clip: ids and mask (clips, length)."""
        which = rng.integers(self.ids.shape[1], size=len(clips))
        return self.ids[clips, which].astype(np.int64), self.mask[clips, which]
