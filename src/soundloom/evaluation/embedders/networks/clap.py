"""CLAP without feature fusion: sound and text as unit vectors in one space, by the network of transformers.

Source: Wu et al. 2023, "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption
Augmentation". The front end is our own: it equals the model's feature extractor on one window, but crops nothing at
random, stays in float32, and passes gradients.
Letters: b batch, n samples, f frames of the spectrogram, m mel bands, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.errors import CheckpointError, EngineError, MismatchError, shown
from soundloom.evaluation.embedders.base import EmbedderInfo, Floats
from soundloom.evaluation.embedders.networks.run import NetworkEmbedder, memory_errors

POWER_FLOOR = 1e-10  # -100 dB
PICKLED = "pytorch_model.bin"
INSTALL = "pip install 'soundloom[evaluation]'"


class ClapNetwork(nn.Module):
    """Sounds (b, n) at the extractor's rate, exactly as long as it expects, to unit vectors (b, d)."""

    filters: Tensor
    taper: Tensor

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.model, self.size, self.hop = model, int(extractor.fft_window_size), int(extractor.hop_length)
        filters = torch.from_numpy(np.asarray(extractor.mel_filters_slaney)).float()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("taper", torch.hann_window(self.size), persistent=False)

    def features(self, sounds: Tensor) -> Tensor:
        """Mel spectra in decibels (b, f, m) of sounds (b, n)."""
        spectra = torch.stft(sounds, self.size, self.hop, window=self.taper, return_complex=True).abs().square()
        return 10 * (spectra.transpose(1, 2) @ self.filters).clamp_min(POWER_FLOOR).log10()

    def forward(self, sounds: Tensor) -> Tensor:
        return F.normalize(self.model.get_audio_features(self.features(sounds)[:, None]).pooler_output, dim=1)

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embed tokens (b, s) of texts to unit vectors (b, d)."""
        return F.normalize(self.model.get_text_features(ids, mask).pooler_output, dim=1)


class ClapEmbedder(NetworkEmbedder):
    """An embedder of sounds and texts."""

    network: ClapNetwork

    def __init__(self, info: EmbedderInfo, network: ClapNetwork, tokenizer: Any, device: str | None = None) -> None:
        super().__init__(info, network, device)
        self.tokenizer = tokenizer

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """Embed texts to unit vectors (b, d); a text alone and in a batch has the same, up to float32 rounding."""
        parts = [texts[start : start + self.info.batch] for start in range(0, len(texts), self.info.batch)]
        with memory_errors(self.info.name), torch.inference_mode():
            vectors = [self._embed_texts(list(part)).float().cpu().numpy() for part in parts]
        return np.concatenate([np.zeros((0, self.info.dimensions), np.float32), *vectors])

    def _embed_texts(self, texts: list[str]) -> Tensor:
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        return self.network.embed_tokens(tokens.input_ids, tokens.attention_mask)


def open_clap(folder: Path) -> tuple[Any, Any, Any]:
    """Load the model, its feature extractor and its tokenizer from a folder in the layout of transformers.

    Weights are read from safetensors, or from `pytorch_model.bin` without executing code from it. Raises EngineError
    without transformers, and CheckpointError for a folder without a suitable model.
    """
    try:
        from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel
    except ImportError as error:
        raise EngineError(f"CLAP needs transformers ({error})", INSTALL) from error
    try:
        with _quiet():
            config: Any = ClapConfig.from_pretrained(folder, local_files_only=True)
            extractor, tokenizer = (kind.from_pretrained(folder) for kind in (ClapFeatureExtractor, AutoTokenizer))
            _require_plain(config, extractor, folder)
            if (folder / PICKLED).is_file() and not any(folder.glob("*.safetensors")):
                loaded: Any = ClapModel.from_pretrained(
                    None, config=config, state_dict=_state_dict(folder), output_loading_info=True
                )
            else:
                loaded = ClapModel.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, output_loading_info=True
                )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{folder} holds no readable CLAP model: {shown(reason)}") from error
    model, faults = loaded
    # Older conversions lack tables of integers, which are computed, not trained.
    computed = {name for name, buffer in model.named_buffers() if not buffer.is_floating_point()}
    if lacking := sorted(set(faults["missing_keys"]) - computed):
        raise MismatchError(f"the CLAP model in {folder} lacks {len(lacking)} tensors, the first is {lacking[0]}")
    return model.eval().requires_grad_(False), extractor, tokenizer


def _require_plain(config: Any, extractor: Any, folder: Path) -> None:
    """Raise CheckpointError for a model with feature fusion, or an extractor that normalizes otherwise."""
    if config.audio_config.enable_fusion or extractor.truncation == "fusion":
        raise CheckpointError(
            f"the CLAP model in {folder} fuses features", "use one without fusion, such as htsat-unfused"
        )


def _state_dict(folder: Path) -> dict[str, Tensor]:
    path = folder / PICKLED
    tensors = tensors_of(read_pickle(path), str(path))
    return {name: torch.from_numpy(np.array(tensor.numpy())) for name, tensor in tensors.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and reports of transformers, whose faults are raised here instead."""
    from transformers.utils import logging

    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shows_bars:
            logging.enable_progress_bar()
