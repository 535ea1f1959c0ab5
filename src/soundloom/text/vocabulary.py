"""Which words of a prompt a model knows, for models whose caption words are single tokens."""

from __future__ import annotations

import string
from collections.abc import Sequence

from soundloom.errors import shown
from soundloom.text.tokenizer import Tokenizer

EXAMPLES = 10  # of the sounds that a model knows, in a message


class CaptionVocabulary:
    """The words that a model was trained on: its tokenizer's, of which `subjects` name the sounds that it makes."""

    def __init__(self, tokenizer: Tokenizer, subjects: Sequence[str]) -> None:
        self.tokenizer, self.subjects = tokenizer, subjects

    def unknown(self, prompt: str) -> list[str]:
        """Return the words of a prompt that were in no caption: such words take several tokens, or are no token."""
        return [word for word in dict.fromkeys(_words(prompt)) if not self.tokenizer.is_token(word)]

    def names_subject(self, prompt: str) -> bool:
        """Whether one of the words names a sound that the model makes."""
        return any(word in self.subjects for word in _words(prompt.lower()))

    def warnings(self, prompt: str, name: str) -> list[str]:
        """What a user of the model `name` should know about a prompt; an empty prompt is a choice."""
        found = []
        if unknown := self.unknown(prompt):
            found.append(f"{name} was not trained on these words of the prompt: {shown(', '.join(unknown))}")
        if prompt.strip() and not self.names_subject(prompt):
            found.append(self.no_subject_message(name))
        return found

    def no_subject_message(self, name: str) -> str:
        """What to say of a prompt that names no sound of the model `name`."""
        examples = shown(", ".join(self.subjects[:EXAMPLES]))
        return f"the prompt names none of the sounds that {name} makes ({examples} and others)"


def _words(prompt: str) -> list[str]:
    words = (word.strip(string.punctuation) for word in prompt.split())
    return [word for word in words if word]
