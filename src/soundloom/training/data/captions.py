"""Captions to tokens: a SentencePiece model learnt from the captions, and the captions of all clips encoded."""

from __future__ import annotations

import io
import string
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import temporary_folder
from soundloom.errors import TrainingError
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import TokenizerConfig
from soundloom.training.data.sources import Captioned

PUNCTUATION = [",", ".", ":"]  # pieces of their own, so that a word is the same before a comma


def train_tokenizer(sounds: Captioned, config: TokenizerConfig) -> bytes:
    """Learn a byte-pair vocabulary from the captions of the first clips; upper and lower case become one.

    Numbers and notes such as "120" and "f#3" may become one piece each: a small encoder need not spell them.
    """
    clips = range(min(len(sounds), config.clips))
    model = io.BytesIO()
    with temporary_folder() as folder:
        rules = folder / "lower_case.tsv"
        rules.write_text("".join(f"{ord(letter):X}\t{ord(letter.lower()):X}\n" for letter in string.ascii_uppercase))
        _learn(
            config.vocabulary_size,
            sentence_iterator=(caption for clip in clips for caption in sounds.captions(clip)),
            model_writer=model,
            model_type="bpe",
            hard_vocab_limit=False,
            # The built-in rules fold letters of all scripts, at 240 KB in the model's file.
            normalization_rule_tsv=str(rules),
            user_defined_symbols=PUNCTUATION,
            split_by_number=False,
            split_by_unicode_script=False,
            pad_id=0,
            eos_id=1,
            bos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=2,
        )
    return model.getvalue()


def _learn(vocabulary: int, **settings: Any) -> None:
    from sentencepiece import SentencePieceTrainer

    try:
        SentencePieceTrainer.train(vocab_size=vocabulary, **settings)
    except RuntimeError as error:
        raise TrainingError(
            f"no vocabulary of {vocabulary} pieces can be learnt from these captions: {error}",
            "sounds need captions, and the vocabulary room for all letters in them",
        ) from error


def vocabulary_size(model: bytes) -> int:
    """Pieces of a SentencePiece model."""
    from sentencepiece import SentencePieceProcessor

    return int(SentencePieceProcessor(model_proto=model).vocab_size())


class CaptionTokens:
    """Token ids and masks of every caption of every clip, (clips, captions, length), and the clips' families."""

    def __init__(self, sounds: Captioned, tokenizer: Tokenizer, length: int) -> None:
        positions = range(len(sounds))
        captions = [sounds.captions(position) for position in positions]
        tokens = tokenizer([text for clip in captions for text in clip], length)
        shape = (len(captions), len(captions[0]), length)
        self.ids = tokens.ids.astype(np.int32).reshape(shape)
        self.mask = tokens.mask.reshape(shape)
        self.families = np.array([sounds.labels(position).family for position in positions])

    def sample(self, clips: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """One caption of each clip: ids and mask (clips, length)."""
        which = rng.integers(self.ids.shape[1], size=len(clips))
        return self.ids[clips, which].astype(np.int64), self.mask[clips, which]
