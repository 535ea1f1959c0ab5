"""The vocabulary of models whose caption words are single tokens, to warn about unknown words in prompts."""

from __future__ import annotations

import string
from collections.abc import Sequence

from soundloom.errors import shown
from soundloom.text.tokenizer import Tokenizer

EXAMPLES = 10  # sound names listed in a message


class CaptionVocabulary:
    """The words of a model's training captions; `sound_names` are those that name a sound."""

    def __init__(self, tokenizer: Tokenizer, sound_names: Sequence[str]) -> None:
        self.tokenizer, self.sound_names = tokenizer, sound_names

    def unknown(self, prompt: str) -> list[str]:
        """Return the words that no training caption contained: those that the tokenizer splits."""
        return [word for word in dict.fromkeys(_words(prompt)) if not self.tokenizer.is_token(word)]

    def names_sound(self, prompt: str) -> bool:
        """Return whether the prompt names a sound that the model generates."""
        return any(word in self.sound_names for word in _words(prompt.lower()))

    def warnings(self, prompt: str, name: str) -> list[str]:
        """Return warnings about a prompt for the model `name`; an empty prompt is valid."""
        found = []
        if unknown := self.unknown(prompt):
            found.append(f"{name} was not trained on these words of the prompt: {shown(', '.join(unknown))}")
        if prompt.strip() and not self.names_sound(prompt):
            found.append(self.no_sound_message(name))
        return found

    def no_sound_message(self, name: str) -> str:
        """Return the warning for a prompt that names no sound of the model `name`."""
        examples = shown(", ".join(self.sound_names[:EXAMPLES]))
        return f"the prompt names none of the sounds that {name} generates ({examples} and others)"


def _words(prompt: str) -> list[str]:
    words = (word.strip(string.punctuation) for word in prompt.split())
    return [word for word in words if word]
