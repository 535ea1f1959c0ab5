"""Quantize the language model of MusicGen: choose bits, write the bundle, compare logits.

`4` and `8` pack what the published bundle packs: every matrix in the layers. `mixed` gives 8 bits to the first and last
layer and to the most sensitive quarter of the rest. Letters for axes: b clips, q codebooks, s positions, v tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from soundloom.autoregressive import delay
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.autoregressive.sampling import exponential_noise, guide_logits, probabilities
from soundloom.checkpoints.formats.packed import require_unpacked
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint, open_musicgen
from soundloom.checkpoints.musicgen.save import lm_bits, pack_lm, save_musicgen
from soundloom.checkpoints.musicgen.shapes import LM_PREFIX
from soundloom.checkpoints.stable_audio.convert import require_empty
from soundloom.config.musicgen.sampling import Sampling
from soundloom.engines.musicgen import MusicComponent, MusicEngine, TextEmbeddings, find_component
from soundloom.errors import RequestError
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.progress import ProgressCallback
from soundloom.quantization.policy import Bits, bits_by_sensitivity, inner_layers, measure_sensitivity
from soundloom.quantization.quantize import QuantizationConfig
from soundloom.quantization.report import LogitDistances, QuantizationReport, Size, cosine, sizes
from soundloom.quantization.trajectory import energy

PROMPTS = ("kick drum loop, 120 BPM", "a slow piano melody", "Music piece. Instruct: Only Drums.")
POSITIONS = (1, 10, 25, 50)  # after which logits are compared
GUIDANCE = 3.0
Run = Callable[[MusicGenCheckpoint], MusicModel]


@dataclass(frozen=True)
class LogitReference:
    """Tokens that the full model generated from prompts, and its logits, against which others are compared.

    `sequence` (b, q, s) includes delays. `source` (b, q, t) is the source of edits. `logits` (2, b, q, v), with prompts
    and without, are those after each of `POSITIONS`.
    """

    text: TextEmbeddings
    sequence: np.ndarray
    source: np.ndarray | None
    logits: list[np.ndarray]

    @classmethod
    def record(cls, model: MusicModel) -> LogitReference:
        """Generate tokens with the full model; an editor gets random source tokens."""
        lm, frames, clips = model.config.lm, max(POSITIONS), len(PROMPTS)
        tokens = model.tokenizer(PROMPTS)
        text = model.engine.encode_text(tokens.ids, tokens.mask)
        model.engine.free("text")
        random = np.random.default_rng(0).integers(0, lm.vocab_size, (clips, lm.num_codebooks, frames))
        source = random if model.config.instruct else None
        request = TokenRequest(clips, frames, Sampling(), GUIDANCE)
        decoder = model.engine.decoder(text, count_steps(lm, request), True, source)

        def noise_fn(step: int) -> np.ndarray:
            return exponential_noise(range(clips), step, lm.num_codebooks, lm.vocab_size)

        *_, last = generate(lm, request, decoder, noise_fn)
        reference = cls(text, delay.build(last.tokens, lm.delays, lm.special_token), source, [])
        return replace(reference, logits=reference.run(model.engine))

    def run(self, engine: MusicEngine) -> list[np.ndarray]:
        """Return an engine's logits after each of `POSITIONS`."""
        logits = []
        for position in POSITIONS:
            decoder = engine.decoder(self.text, position, True, self.source)
            cond, uncond = decoder(self.sequence[..., :position])
            assert uncond is not None
            logits.append(np.stack([cond, uncond]))
        return logits

    def error(self, engine: MusicEngine) -> float:
        """Return the energy of an engine's logit errors over that of the full model's logits; free the engine."""
        errors = (energy(a - b) for a, b in zip(self.run(engine), self.logits, strict=True))
        error = sum(errors) / sum(map(energy, self.logits))
        engine.free("lm", "adapter")
        return error

    def distances(self, engine: MusicEngine) -> LogitDistances:
        """Return the distances of an engine's logits from the full model's."""
        logits = self.run(engine)
        cosines = {at: cosine(a, b) for at, a, b in zip(POSITIONS, logits, self.logits, strict=True)}
        ours, full = (_guided(each) for each in (logits, self.logits))
        p, q = probabilities(full, 1.0).astype(np.float64), probabilities(ours, 1.0)
        divergence = float((p * np.log((p + 1e-30) / (q + 1e-30))).sum(-1).mean())
        return LogitDistances(cosines, divergence, float((ours.argmax(-1) == full.argmax(-1)).mean()))


def _guided(logits: Sequence[np.ndarray]) -> np.ndarray:
    cond, uncond = np.stack(logits, axis=1)
    return guide_logits(cond, uncond, GUIDANCE)


def quantize_music(
    full: MusicGenCheckpoint,
    folder: Path,
    config: QuantizationConfig,
    run: Run,
    progress: ProgressCallback | None = None,
) -> QuantizationReport:
    """Write `full` with a packed language model into `folder` and compare the two; see `quantize.quantize_model`."""
    require_empty(folder)
    require_unpacked(full.name, full.layout, full.tensors)
    if config.calibrate or config.prompts:
        raise RequestError("--calibrate and --prompts are for Stable Audio models", "leave them out")
    model = run(full)
    reference = LogitReference.record(model)
    model.engine.free("lm", "adapter")
    bits = _assign_bits(full, reference, config, run, progress)
    save_musicgen(folder, full.config, pack_lm(full.tensors, bits, config.group_size), full.tokenizer)
    packed = run(open_musicgen(folder))
    distances = reference.distances(packed.engine)
    packed.engine.free("lm", "adapter")
    return QuantizationReport(_sizes(model), _sizes(packed), distances)


def _assign_bits(
    full: MusicGenCheckpoint,
    reference: LogitReference,
    config: QuantizationConfig,
    run: Run,
    progress: ProgressCallback | None,
) -> Bits:
    if config.policy != "mixed":
        return lm_bits(full.tensors, int(config.policy), config.group_size)
    names = inner_layers(lm_bits(full.tensors, 4, config.group_size), full.tensors, LM_PREFIX)
    sensitivity = measure_sensitivity(
        full, names, config.group_size, lambda packed: reference.error(run(packed).engine), progress
    )
    return lm_bits(full.tensors, 8, config.group_size) | bits_by_sensitivity(full.tensors, sensitivity)


def _sizes(model: MusicModel) -> dict[str, Size]:
    components = [c for c in get_args(MusicComponent) if c != "adapter" or model.config.instruct]
    return sizes(model.engine, {c: find_component(model.checkpoint, c).tensors.values() for c in components})
