"""What a model reads of a prompt: its tokens, the words it does not know, its tempo and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from soundloom.checkpoints.installed import is_installed
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.prompt_facts import prompt_bpm, prompt_key
from soundloom.errors import RequestError, SoundloomError
from soundloom.prompts import parse_weights
from soundloom.serving.jobs.resolve import KnownModel
from soundloom.text.instructions import normalize_instruction
from soundloom.text.tokenizer import Tokenizer
from soundloom.text.vocabulary import CaptionVocabulary


@dataclass(frozen=True)
class PromptReading:
    """What a model reads. `tokens` and `unread`, the text beyond the limit, are None where its tokenizer is not here.

    `unknown` lists words that no training caption had, for models with such a list; `names_sound` says whether one
    of its sounds is named. `understood` is the sentence that an editing model makes of an instruction, and `trained`
    whether it was trained on it. `problem` says why the prompt cannot be used.
    """

    tokens: int | None = None
    limit: int | None = None
    unread: str | None = None
    unknown: list[str] = field(default_factory=list)
    names_sound: bool = True
    bpm: float | None = None
    key: str | None = None
    understood: str | None = None
    trained: bool = True
    problem: str | None = None


class PromptReader:
    """Reads prompts as models do; tokenizers are kept."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._tokenizers: dict[str, Tokenizer] = {}

    def read(self, prompt: str, model: KnownModel) -> PromptReading:
        """Read a prompt."""
        try:
            text = parse_weights(prompt).text
        except RequestError as error:
            return PromptReading(problem=str(error.args[0]))
        bpm, key, config = prompt_bpm(text), prompt_key(text), model.config
        if isinstance(config, MusicGenConfig):
            return self._read_music(text, config, bpm, key)
        limit, tokenizer = config.model.conditioning.prompt.max_length, self._tokenizer(model.name)
        if tokenizer is None:
            return PromptReading(limit=limit, bpm=bpm, key=key)
        read = tokenizer([text], limit)
        unread = read.truncated[0]
        count = int(read.mask.sum()) + (int(tokenizer([unread], len(unread) + 1).mask.sum()) if unread else 0)
        vocabulary = CaptionVocabulary(tokenizer, config.sound_names) if config.sound_names else None
        unknown = vocabulary.unknown(text) if vocabulary else []
        names_sound = not vocabulary or not text.strip() or vocabulary.names_sound(text)
        return PromptReading(count, limit, unread, unknown, names_sound, bpm, key)

    def _read_music(self, text: str, config: MusicGenConfig, bpm: float | None, key: str | None) -> PromptReading:
        if config.instruct is None or not text.strip():
            return PromptReading(bpm=bpm, key=key)
        try:
            found = normalize_instruction(text, config.instruct.instruments)
        except RequestError as error:
            return PromptReading(problem=str(error.args[0]))
        return PromptReading(understood=found.text, trained=found.seen_in_training)

    def _tokenizer(self, name: str) -> Tokenizer | None:
        """Return the tokenizer of a model whose files are here."""
        if name not in self._tokenizers:
            entry = find_entry(name.partition("@")[0])
            if name not in self._sources and (entry is None or not is_installed(entry)):
                return None
            try:
                files = open_checkpoint(self._sources.get(name, name), offline=True).text_encoder
            except SoundloomError:
                return None
            if files is None:
                return None
            self._tokenizers[name] = Tokenizer(files.tokenizer, files.config.pad_token_id, files.config.vocab_size)
        return self._tokenizers[name]
