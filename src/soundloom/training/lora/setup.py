"""Prepare a run on any engine: encode sounds and texts, or take them from caches, and load them into memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import make_folder, write_json
from soundloom.audio.clip import Clip
from soundloom.audio.loudness import gain_to_loudness
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.datasets.captioned import CaptionedFolder
from soundloom.datasets.encoding import EncodedSounds, encode_dataset, encoded_silence
from soundloom.datasets.examples import Dataset, FileEntry, Selection, read_examples
from soundloom.datasets.fidelity import Codec, fidelity_warning
from soundloom.datasets.latents import DETAILS, LatentFolder, LatentFolderWriter, read_silence
from soundloom.datasets.opening import open_dataset
from soundloom.errors import RequestError, TrainingError
from soundloom.folders import expanded
from soundloom.pipeline.stable_audio.codec import model_codec
from soundloom.pipeline.stable_audio.model import Model
from soundloom.training.lora.checks import DataReport, inspect
from soundloom.training.lora.clips import Array, TrainingClip, all_texts, data_digest, training_clips
from soundloom.training.lora.config import DataConfig, LoraConfig
from soundloom.training.lora.folder import RunFolder
from soundloom.training.lora.prompts import PromptBank, encode_texts

log = logging.getLogger(__name__)

TEXTS_AT_ONCE = 16
MAX_HELD_OUT_SHARE = 0.5  # of the set


@dataclass(frozen=True)
class TrainingSet:
    """Clips with everything that steps draw from: `held_out` are not trained on, `silence` (c, n) follows short clips.

    `digest` identifies latents, durations and captions of the training clips.
    """

    clips: Sequence[TrainingClip]
    held_out: Sequence[TrainingClip]
    silence: Array
    bank: PromptBank
    digest: str

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)


@dataclass(frozen=True)
class ChosenEntries:
    """The entries of a dataset that were checked and found usable."""

    dataset: Dataset
    origins: frozenset[str]

    def entries(self) -> Iterator[FileEntry]:
        return (entry for entry in self.dataset.entries() if entry.origin in self.origins)


def generative_config(checkpoint: Checkpoint) -> ModelConfig:
    """Return the configuration of a model that can be adapted. Raises RequestError for an autoencoder."""
    if not isinstance(checkpoint.config, ModelConfig):
        raise RequestError(f"{checkpoint.name} is only an autoencoder", "train on a model that generates")
    return checkpoint.config


def open_training_data(path: str | Path) -> Dataset:
    """Open a folder of sounds with captions, or of latents, or shards. Raises RequestError."""
    dataset = open_dataset(expanded(path))
    return dataset if not expanded(path).is_dir() or isinstance(dataset, LatentFolder) else _sounds(path, dataset)


def _sounds(path: str | Path, dataset: Dataset) -> Dataset:
    from soundloom.datasets.webdataset import Shards

    return dataset if isinstance(dataset, Shards) else CaptionedFolder(expanded(path))


def check(
    path: str | Path,
    config: ModelConfig,
    batch_size: int,
    skip_faulty: bool,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[Dataset, DataReport]:
    """Open and check a training set."""
    dataset = open_training_data(path)
    report = inspect(
        dataset,
        rate=config.sample_rate,
        channels=config.same.latent_dim,
        max_seconds=config.model.conditioning.seconds_total.max_val,
        batch_size=batch_size,
        progress=progress,
    )
    return dataset, report.without_faulty() if skip_faulty else report


class Encoder:
    """Encodes sounds and texts with a model that is loaded when something is missing in the caches."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
        self._loaded: Model | None = None

    @property
    def model(self) -> Model:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def codec(self, config: DataConfig) -> Codec:
        """Return the model's autoencoder; with a loudness, sounds are brought to it first."""
        codec = model_codec(self.model)
        if config.loudness is None:
            return codec
        target = config.loudness

        def encode(clip: Clip) -> Any:
            gain, _ = gain_to_loudness(clip.audio, clip.sample_rate, target)
            return codec.encode(Clip(clip.audio * np.float32(10 ** (gain / 20)), clip.sample_rate))

        return replace(codec, encode=encode, fingerprint=f"{codec.fingerprint}, {target:g} LUFS", decode=None)

    def texts(self, texts: Sequence[str]) -> list[Array]:
        """Return the rows (tokens, d) of texts, without padding where the model pads."""
        model, length = self.model, self.model.config.model.conditioning.prompt.max_length
        whole = model.config.model.conditioning.prompt.padding_mode == "none"
        rows: list[Array] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            tokens = model.tokenizer(texts[start : start + TEXTS_AT_ONCE], length)
            needed = tokens.first(length if whole else max(1, int(tokens.mask.sum(axis=1).max())))
            found = model.engine.numpy(model.engine.encode_text(needed.ids, needed.mask))
            rows += [row if whole else row[mask] for row, mask in zip(found, needed.mask, strict=True)]
        return rows

    def free(self) -> None:
        """Release the networks."""
        if self._loaded is not None:
            self._loaded.engine.free(*self._loaded.components)


def encode_sounds(
    dataset: Dataset, report: DataReport, folder: Path, encoder: Encoder, config: DataConfig, model: str
) -> None:
    """Encode usable sounds to a folder, those alone that it lacks. Raises TrainingError if one cannot be encoded."""
    make_folder(folder)
    origins = frozenset(clip.origin for clip in report.usable)
    writer = LatentFolderWriter(folder, by_origin=True)
    summary = encode_dataset(ChosenEntries(dataset, origins), writer, encoder.codec(config), Selection())
    if summary.skipped:
        lines = [f"{one.origin}: {one.reason}" for one in summary.skipped]
        raise TrainingError("sounds could not be encoded\n" + "\n".join(lines), "mend or remove them")
    if warning := fidelity_warning(model, summary.differences):
        log.warning("%s", warning)
    write_json(folder / f"{DETAILS}.json", {"model": model, "clips": summary.stored, "seconds": report.seconds})


def load_clips(
    dataset: Dataset, report: DataReport, folder: Path, encoder: Encoder, config: DataConfig, model: str
) -> tuple[list[TrainingClip], Array | None]:
    """Return usable clips, encoded to `folder` unless they are latents already, and latents of silence if stored."""
    origins = frozenset(clip.origin for clip in report.usable)
    encoded = dataset
    if not all(clip.frames for clip in report.usable):
        encode_sounds(dataset, report, folder, encoder, config, model)
        encoded = EncodedSounds(LatentFolder(folder), dataset)
        silence = read_silence(folder)
    else:
        stored = dataset.silence() if hasattr(dataset, "silence") else None
        silence = None if stored is None else np.asarray(stored, np.float32)
    examples = list(read_examples(ChosenEntries(encoded, origins)))
    if len(examples) != len(origins):
        raise TrainingError(f"{len(origins) - len(examples)} clips changed while they were encoded", "run it again")
    return training_clips(examples, config.latent_rms), silence


def prepare_set(
    checkpoint: Checkpoint,
    train: tuple[Dataset, DataReport],
    held_out: tuple[Dataset, DataReport] | None,
    folder: RunFolder,
    encoder: Encoder,
    config: LoraConfig,
) -> TrainingSet:
    """Encode and load training and held-out clips and their texts. Raises TrainingError if the two overlap."""
    model, data = generative_config(checkpoint), config.data
    clips, silence = load_clips(*train, folder.latents, encoder, data, checkpoint.name)
    if held_out is not None:
        others, _ = load_clips(*held_out, folder.held_out_latents, encoder, data, checkpoint.name)
    else:
        clips, others = set_apart(clips, data.held_out_clips)
    _require_disjoint(clips, others)
    if silence is None:
        silence = encoded_silence(encoder.codec(data)).astype(np.float32)
    texts = all_texts([*clips, *others], data)
    rows = encode_texts(texts, encoder.texts, folder.prompts, checkpoint.fingerprint)
    encoder.free()
    prompt = model.model.conditioning.prompt
    bank = PromptBank(rows, prompt.max_length, padding_row(checkpoint, prompt.padding_mode))
    return TrainingSet(clips, others, silence, bank, data_digest(clips))


def padding_row(checkpoint: Checkpoint, mode: str) -> Array | None:
    """Return the row (d,) that follows a text, None where padding is encoded like text."""
    if mode == "none":
        return None
    stored = checkpoint.component(CONDITIONER_PREFIX).get("prompt.padding_embedding")
    width = generative_config(checkpoint).model.conditioning.cond_dim
    return np.zeros(width, np.float32) if stored is None else np.asarray(stored.numpy(), np.float32)


def set_apart(clips: Sequence[TrainingClip], count: int) -> tuple[list[TrainingClip], list[TrainingClip]]:
    """Return training and held-out clips; those with the smallest hashes are held out, so order does not matter."""
    if count > math.floor(MAX_HELD_OUT_SHARE * len(clips)):
        raise RequestError(f"{count} of {len(clips)} clips cannot be held out", "give a folder of other clips instead")
    chosen = {clip.digest for clip in sorted(clips, key=lambda clip: clip.digest)[:count]}
    return [one for one in clips if one.digest not in chosen], [one for one in clips if one.digest in chosen]


def _require_disjoint(clips: Sequence[TrainingClip], held_out: Sequence[TrainingClip]) -> None:
    shared = {clip.digest for clip in clips} & {clip.digest for clip in held_out}
    if shared:
        raise TrainingError(
            f"{len(shared)} held-out clips are also in the training set",
            "held-out clips show overfitting only if training never sees them",
        )
