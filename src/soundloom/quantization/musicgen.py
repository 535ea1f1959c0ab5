"""The language model of MusicGen into fewer bits: which layers get how many, and what that does to its logits.

`4` and `8` pack what the published bundle packs, every matrix in the layers. `mixed` gives 8 bits to the first and the
last layer and to the most sensitive quarter of the rest. Letters: b clips, q codebooks, s positions, v tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from soundloom.autoregressive import delay
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.autoregressive.sampling import exponential_noise, guide_logits, probabilities
from soundloom.checkpoints.compare import depth
from soundloom.checkpoints.formats.packed import pack_tensor, require_unpacked
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint, open_musicgen
from soundloom.checkpoints.musicgen.save import lm_bits, pack_lm, save_musicgen
from soundloom.checkpoints.musicgen.shapes import LM_PREFIX
from soundloom.checkpoints.stable_audio.convert import require_empty
from soundloom.config.musicgen.sampling import Sampling
from soundloom.engines.musicgen import MusicComponent, MusicEngine, TextEmbeddings, find_component
from soundloom.errors import RequestError
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.quantization.policy import Bits, bits_by_sensitivity
from soundloom.quantization.quantize import Progress, QuantizationConfig
from soundloom.quantization.report import LogitDistances, QuantizationReport, Size, cosine, sizes
from soundloom.quantization.trajectory import energy

PROMPTS = ("kick drum loop, 120 BPM", "a slow piano melody", "Music piece. Instruct: Only Drums.")
POSITIONS = (1, 10, 25, 50)  # after which logits are compared
GUIDANCE = 3.0
Run = Callable[[MusicGenCheckpoint], MusicModel]


@dataclass(frozen=True)
class LogitReference:
    """Codes that the full model made of prompts, and its logits on the way, to hold others against.

    `sequence` (b, q, s) is laid out with delays; `source` (b, q, t) is what an editor hears. `logits` has, for each of
    `POSITIONS`, those with the prompts and those without, (2, b, q, v).
    """

    reading: TextEmbeddings
    sequence: np.ndarray
    source: np.ndarray | None
    logits: list[np.ndarray]

    @classmethod
    def record(cls, model: MusicModel) -> LogitReference:
        """Let the full model make codes; an editor is given some that were drawn."""
        lm, frames, clips = model.config.lm, max(POSITIONS), len(PROMPTS)
        tokens = model.tokenizer(PROMPTS)
        reading = model.engine.encode_text(tokens.ids, tokens.mask)
        model.engine.free("text")
        drawn = np.random.default_rng(0).integers(0, lm.vocab_size, (clips, lm.num_codebooks, frames))
        source = drawn if model.config.instruct else None
        request = TokenRequest(clips, frames, Sampling(), GUIDANCE)
        decoder = model.engine.decoder(reading, count_steps(lm, request), True, source)

        def noise(step: int) -> np.ndarray:
            return exponential_noise(range(clips), step, lm.num_codebooks, lm.vocab_size)

        *_, last = generate(lm, request, decoder, noise)
        probe = cls(reading, delay.build(last.tokens, lm.delays, lm.special_token), source, [])
        return replace(probe, logits=probe.run(model.engine))

    def run(self, engine: MusicEngine) -> list[np.ndarray]:
        """Return an engine's logits after each of `POSITIONS`, all fed at once."""
        found = []
        for position in POSITIONS:
            decoder = engine.decoder(self.reading, position, True, self.source)
            prompted, unprompted = decoder(self.sequence[..., :position])
            assert unprompted is not None
            found.append(np.stack([prompted, unprompted]))
        return found

    def error(self, logits: Sequence[np.ndarray]) -> float:
        """Return the energy of the logits' error over that of the full model's logits."""
        wanted = sum(map(energy, self.logits))
        return sum(energy(a - b) for a, b in zip(logits, self.logits, strict=True)) / wanted

    def distances(self, logits: Sequence[np.ndarray]) -> LogitDistances:
        """Describe how far an engine's logits are from the full model's."""
        cosines = {at: cosine(a, b) for at, a, b in zip(POSITIONS, logits, self.logits, strict=True)}
        ours, full = (_guided(each) for each in (logits, self.logits))
        p, q = probabilities(full, 1.0).astype(np.float64), probabilities(ours, 1.0)
        divergence = float((p * np.log((p + 1e-30) / (q + 1e-30))).sum(-1).mean())
        return LogitDistances(cosines, divergence, float((ours.argmax(-1) == full.argmax(-1)).mean()))


def _guided(logits: Sequence[np.ndarray]) -> np.ndarray:
    prompted, unprompted = np.stack(logits, axis=1)
    return guide_logits(prompted, unprompted, GUIDANCE)


def quantize_music(
    full: MusicGenCheckpoint, folder: Path, choice: QuantizationConfig, run: Run, progress: Progress | None = None
) -> QuantizationReport:
    """Write `full` with a packed language model into `folder` and compare the two; see `quantize.quantize_model`."""
    require_empty(folder)
    require_unpacked(full.name, full.layout, full.tensors)
    if choice.calibrate or choice.prompts:
        raise RequestError("--calibrate and --prompts are for Stable Audio models", "leave them out")
    model = run(full)
    probe = LogitReference.record(model)
    model.engine.free("lm", "adapter")
    bits = _choose(full, probe, choice, run, progress)
    save_musicgen(folder, full.config, pack_lm(full.tensors, bits, choice.group_size), full.tokenizer)
    packed = run(open_musicgen(folder))
    distances = probe.distances(probe.run(packed.engine))
    packed.engine.free("lm", "adapter")
    return QuantizationReport(_sizes(model), _sizes(packed), distances)


def _choose(
    full: MusicGenCheckpoint, probe: LogitReference, choice: QuantizationConfig, run: Run, progress: Progress | None
) -> Bits:
    if choice.policy != "mixed":
        return lm_bits(full.tensors, int(choice.policy), choice.group_size)
    sensitivity = _measure_sensitivity(full, probe, choice.group_size, run, progress)
    return lm_bits(full.tensors, 8, choice.group_size) | bits_by_sensitivity(full.tensors, sensitivity)


def _measure_sensitivity(
    full: MusicGenCheckpoint, probe: LogitReference, group_size: int, run: Run, progress: Progress | None
) -> dict[str, float]:
    """How much the logits change, in energy, when one matrix alone has 4 bits; the model runs for each."""
    names, found = _candidates(full.tensors, group_size), {}
    for done, name in enumerate(names, 1):
        other = run(replace(full, tensors={**full.tensors, name: pack_tensor(full.tensors[name], 4, group_size)}))
        found[name] = probe.error(probe.run(other.engine))
        other.engine.free("lm", "adapter")
        if progress:
            progress(done, len(names))
    return found


def _candidates(tensors: Mapping[str, LazyTensor], group_size: int) -> list[str]:
    """The matrices to which `mixed` may give 4 bits: those between the first layer and the last."""
    last = depth(name.removeprefix(LM_PREFIX) for name in tensors if name.startswith(LM_PREFIX)) - 1
    edges = tuple(f"{LM_PREFIX}transformer.layers.{layer}." for layer in (0, last))
    return [name for name in lm_bits(tensors, 4, group_size) if not name.startswith(edges)]


def _sizes(model: MusicModel) -> dict[str, Size]:
    components = [c for c in get_args(MusicComponent) if c != "adapter" or model.config.instruct]
    return sizes(model.engine, {c: find_component(model.checkpoint, c).tensors.values() for c in components})
