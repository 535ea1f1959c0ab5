"""The weights of a prompt's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from soundloom.prompts import WeightedText

SpansOf = Callable[[str], Sequence[tuple[int, int]]]


def token_weights(prompt: WeightedText, spans_of: SpansOf, length: int, *, whole: bool = False) -> np.ndarray:
    """Return the weight of each of the first `length` tokens of a prompt, float32.

    `spans_of` returns the characters of each token. A token of which only a part is weighted, as in "un(usual:2)",
    gets the mean weight of its characters; with `whole` it keeps 1, as in the published MLX runtime. White space counts
    only between the words of a phrase.
    """
    weights = np.ones(length, dtype=np.float32)
    if not prompt.spans:
        return weights
    text = prompt.text
    characters = np.ones(len(text))
    for start, end, weight in prompt.spans:
        phrase = text[start:end]
        characters[start + len(phrase) - len(phrase.lstrip()) : start + len(phrase.rstrip())] = weight
    for token, (start, end) in enumerate(spans_of(text)[:length]):
        found = [characters[i] for i in range(start, end) if not text[i].isspace()] or characters[start:end].tolist()
        if not found:
            continue
        if all(weight == found[0] for weight in found):
            weights[token] = found[0]
        elif not whole:
            weights[token] = np.mean(found)
    return weights
