"""Weights of tokens, and the characters that tokens stand for."""

import numpy as np
import pytest

from soundloom.prompts import parse_weights
from soundloom.text.tokenizer import Tokenizer
from soundloom.text.tokenizer_training import train_sentencepiece
from soundloom.text.weights import token_weights

SENTENCES = ["warm piano and rain, kick drum loop, 120 BPM", "unusual tone, räin, usual things in a room"]
GEMMA = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}


@pytest.fixture(scope="module", params=["as Gemma", "as mini"])
def tokenizer(request):
    options = GEMMA if request.param == "as Gemma" else {"normalization_rule_name": "nmt_nfkc_cf"}
    return Tokenizer(train_sentencepiece(SENTENCES, 90, model_type="bpe", unk_id=3, bos_id=2, **options))


@pytest.mark.parametrize(
    "text", ["", "warm piano", "räin, 120 BPM", "  usual  tone ", "漢字 and 🎹 rain", "WARM Piano"]
)
def test_spans_cover_the_text_in_order(tokenizer, text):
    spans = tokenizer.spans(text)
    tokens = tokenizer([text], 64)
    assert len(spans) == tokens.mask.sum()
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    assert "".join(text[start:end] for start, end in spans).split() == text.split()


def of(tokenizer, prompt, length=32, **options):
    parsed = parse_weights(prompt)
    spans = [parsed.text[start:end] for start, end in tokenizer.spans(parsed.text)]
    return spans, token_weights(parsed, tokenizer.spans, length, **options)


def test_exactly_the_tokens_of_a_phrase_are_weighted(tokenizer):
    spans, weights = of(tokenizer, "warm (kick drum:1.3), (rain:0.5) in a room")
    phrases = {1.3: "", 0.5: "", 1.0: ""}
    for span, weight in zip(spans, weights.tolist(), strict=False):
        phrases[round(weight, 6)] += span
    assert phrases[1.3].strip() == "kick drum"  # with the space between its words
    assert phrases[0.5].strip() == "rain"
    assert (weights[len(spans) :] == 1).all()


def test_without_weights_all_tokens_weigh_one(tokenizer):
    assert (of(tokenizer, "(warm:1) piano")[1] == 1).all()


def test_a_token_that_is_weighted_in_part_gets_the_mean_of_its_characters():
    def one_token(text):
        return [(0, len(text))]

    assert token_weights(parse_weights("un(usual:2)"), one_token, 1)[0] == pytest.approx((2 * 1 + 5 * 2) / 7)
    assert token_weights(parse_weights("un(usual:2)"), one_token, 1, whole=True)[0] == 1
    assert token_weights(parse_weights(" (usual:2) "), one_token, 1)[0] == 2  # white space does not count


def test_tokens_beyond_the_length_are_dropped(tokenizer):
    assert np.array_equal(of(tokenizer, "warm piano and (rain:2)", length=2)[1], [1, 1])
