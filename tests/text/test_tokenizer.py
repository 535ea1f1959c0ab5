import pytest

from soundloom.errors import CheckpointError
from soundloom.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return Tokenizer(tiny_model.checkpoint.text_encoder.tokenizer)


def test_rows_are_padded_on_the_right_and_masked(tokenizer):
    tokens = tokenizer(["rain", ""], 16)
    real = tokens.mask.sum(axis=1)
    assert tokens.ids.shape == (2, 16)
    assert real[0] > 0
    assert real[1] == 0
    assert tokens.mask[0, : real[0]].all()
    assert (tokens.ids[0, real[0] :] == 0).all()
    assert tokens.truncated == ("", "")


def test_truncated_text_is_reported(tokenizer):
    words = " ".join(["rain on the roof"] * 20)
    tokens = tokenizer([words], 8)
    assert tokens.mask.all()
    assert tokens.truncated[0]
    assert words.endswith(tokens.truncated[0].strip())


def test_other_bytes_than_a_tokenizer_are_rejected():
    with pytest.raises(CheckpointError, match="SentencePiece"):
        Tokenizer(b"not a model")
