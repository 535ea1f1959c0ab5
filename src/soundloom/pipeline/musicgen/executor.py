"""Run planned MusicGen clips: encode text and sources, generate tokens window by window, decode.

Each network does all its work before the next one is loaded; of long audio only the tokens wait, which are small.
Positions are frames of the codec, except where samples are named.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.autoregressive.sampling import exponential_noise
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.engines.musicgen import MusicComponent, MusicEngine, TextEmbeddings
from soundloom.pipeline.musicgen.plan import PlannedMusic
from soundloom.pipeline.musicgen.windows import Joined
from soundloom.pipeline.progress import ProgressReporter
from soundloom.pipeline.stable_audio.chunks import pad_or_trim
from soundloom.text.t5_tokens import T5Tokenizer

_WINDOW_KEY = 32  # bits by which the number of a window is shifted in the key of its noise


def mono_at_rate(clip: Clip, rate: int) -> np.ndarray:
    """Return the mean of a clip's channels (1, samples) at the model's rate."""
    return resample(to_channels(clip.audio, 1), clip.sample_rate, rate)


class MusicExecutor:
    """Runs groups of clips that share windows, sampling and source on an engine."""

    def __init__(
        self,
        engine: MusicEngine,
        config: MusicGenConfig,
        tokenizer: T5Tokenizer,
        reporter: ProgressReporter,
        *,
        mask_padding: bool = True,
    ) -> None:
        self.engine, self.config, self.tokenizer, self.reporter = engine, config, tokenizer, reporter
        self.keep_loaded, self.mask_padding = False, mask_padding
        self._encoded: tuple[Hashable, list[np.ndarray]] | None = None  # the last source, which groups often share

    def execute(self, clips: Sequence[PlannedMusic], keep_loaded: bool) -> list[np.ndarray]:
        """Return the audio (channels, samples) of each clip at its own rate. Networks may stay loaded afterwards."""
        self.keep_loaded = keep_loaded
        with self.reporter.stage("text", 1):
            tokens = self.tokenizer([clip.text for clip in clips])
            text = self.engine.encode_text(tokens.ids, tokens.mask)
            self._free("text")
        return self._decode(clips, self._generate(clips, text, self._encode(clips[0])))

    def _free(self, *components: MusicComponent) -> None:
        if not self.keep_loaded:
            self.engine.free(*components)

    def _encode(self, clip: PlannedMusic) -> list[np.ndarray]:
        """Return the tokens (1, q, t) of each window of the source of a group; none without a source."""
        if clip.request.source is None:
            return []
        hop, key = self.config.encodec.hop, (clip.request.source, clip.windows)
        with self.reporter.stage("encode", 1) as tick:
            if self._encoded is None or self._encoded[0] != key:
                audio = mono_at_rate(clip.request.source, self.config.sample_rate)[None]
                pieces = (audio[..., window.start * hop : window.stop * hop] for window in clip.windows)
                self._encoded = key, [self.engine.encode(piece) for piece in pieces]
            tick(1)
            self._free("codec")
        return self._encoded[1]

    def _generate(
        self, clips: Sequence[PlannedMusic], text: TextEmbeddings, source: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Return the tokens (b, q, t) of each window."""
        lm, first, tokens = self.config.lm, clips[0], list[np.ndarray]()
        guidance = first.request.guidance
        seconds = int(-(-first.windows[-1].stop // self.config.frame_rate))
        with self.reporter.stage("tokens", seconds) as tick:
            for number, window in enumerate(first.windows):
                prompt = tokens[-1][..., -window.known :] if tokens else None
                request = TokenRequest(len(clips), window.stop - window.start, first.sampling, guidance, prompt)
                capacity = count_steps(lm, request) + request.prompt_frames
                repeated = np.repeat(source[number], len(clips), axis=0) if source else None
                decoder = self.engine.decoder(text, capacity, guidance != 1, repeated, self.mask_padding)
                for step in generate(lm, request, decoder, self._noise(clips, number)):
                    tick(int((window.start + step.frames) / self.config.frame_rate))
                tokens.append(step.tokens)
                tick(int(window.stop / self.config.frame_rate))
            self._free("lm", "adapter")
        return tokens

    def _noise(self, clips: Sequence[PlannedMusic], window: int) -> Callable[[int], np.ndarray]:
        """Return noise that depends only on the seed of a clip, the window and the step."""
        lm, seeds = self.config.lm, [clip.seed for clip in clips]
        return lambda step: exponential_noise(seeds, (window << _WINDOW_KEY) + step, lm.num_codebooks, lm.vocab_size)

    def _decode(self, clips: Sequence[PlannedMusic], tokens: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the audio of each clip, its windows joined."""
        results, done = [], 0
        hop, rate, channels = self.config.encodec.hop, self.config.sample_rate, self.config.lm.audio_channels
        with self.reporter.stage("decode", len(clips) * len(tokens)) as tick:
            for row, clip in enumerate(clips):
                joined = Joined(channels, clip.samples, rate)
                for window, window_tokens in zip(clip.windows, tokens, strict=True):
                    joined.add(window.start * hop, self._decode_channels(window_tokens[row]))
                    done += 1
                    tick(done)
                results.append(_finish(joined.audio, clip, rate))
            self._free("codec")
        return results

    def _decode_channels(self, tokens: np.ndarray) -> np.ndarray:
        """Return the audio (c, n) of tokens (q, t), whose codebooks alternate between the channels."""
        channels = self.config.lm.audio_channels
        return np.concatenate([self.engine.decode(tokens[None, side::channels])[0] for side in range(channels)])


def _finish(audio: np.ndarray, clip: PlannedMusic, rate: int) -> np.ndarray:
    """Convert audio to the rate, channels and exact length of the result."""
    source = clip.request.source
    if source is None:
        return audio
    return to_channels(pad_or_trim(resample(audio, rate, clip.rate), source.samples), clip.channels)
