"""What a training run is told, as frozen dataclasses read strictly from TOML files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from soundloom.config.parse import parse
from soundloom.datasets.items import Selection
from soundloom.datasets.synthetic import FAMILIES
from soundloom.errors import ConfigError

T = TypeVar("T")

SOUNDS_FILE = "sounds.toml"  # in a model's folder: what the model was taught, as `SoundsConfig`


def _require_ones(config: object, *names: str, of: str = "") -> None:
    """Raise ConfigError for a field of these, counts of something, that is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"{of}{name} must be 1 or more, found {getattr(config, name)}")


@dataclass(frozen=True)
class LoopConfig:
    """The optimiser and its course: linear warm-up, then a half cosine from the first rate to the last.

    Several cycles do so one after another in equal parts of the steps, each from half the rate of the one before.
    """

    steps: int
    learning_rate: float
    final_learning_rate: float
    warmup_steps: int = 100
    cycles: int = 1
    muon: float = 0.0  # rate of the matrices in blocks under Muon, in learning rates; 0 takes AdamW for all
    betas: tuple[float, ...] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.999
    accumulate: int = 1  # batches whose gradients a step adds up; several processes share them
    frozen: tuple[str, ...] = ()  # beginnings of names of weights that stay as they are, such as "text."
    divergence: float = 4.0  # a loss is too high that lies above its usual size by so many times that size
    patience: int = 100  # steps on end with too high a loss, after which training stops
    save_every: int = 500  # steps
    log_every: int = 50
    preview_every: int = 1000  # clips to hear in the logs
    seed: int = 0

    def __post_init__(self) -> None:
        _require_ones(self, "cycles", "accumulate", "patience", "save_every", "log_every", "preview_every", of="loop.")
        if self.steps < 0:
            raise ConfigError(f"loop.steps must be 0 or more, found {self.steps}")
        if self.steps % self.cycles:
            raise ConfigError(f"loop.cycles must divide loop.steps, found {self.cycles} and {self.steps}")


@dataclass(frozen=True)
class SoundsConfig:
    """Which clips of the synthetic world are trained on; no families means all of them."""

    clips: int
    seed: int = 0
    families: tuple[str, ...] = ()
    even: bool = False  # as many clips of each family, instead of more of those that the world has more of
    scenes: bool = True  # clips of two sources
    reverb: bool = True
    seconds: tuple[float, ...] = (1.0, 6.0)
    plain: bool = False  # what captions need not name is the same in all clips; lengths fill all of `seconds`
    tuned_to: int = 0  # samples of a latent: pitches and beats are moved until latents repeat; 0 leaves them

    def __post_init__(self) -> None:
        if unknown := set(self.families) - set(FAMILIES):
            named = ", ".join(sorted(unknown))
            raise ConfigError(f"no such families of sounds: {named}", f"known: {', '.join(FAMILIES)}")
        if len(self.seconds) != 2 or not 0 < self.seconds[0] <= self.seconds[1]:
            raise ConfigError(f"seconds must be a shortest and a longest length, found {list(self.seconds)}")


@dataclass(frozen=True)
class DataConfig:
    """Where sounds come from; without it they are those of the synthetic world, see `SoundsConfig`."""

    source: Literal["folder", "webdataset", "latents"]
    path: str  # absolute, or seen from the recipe's folder
    selection: Selection = field(default_factory=Selection)
    clips: int = 0  # the first ones alone are heard by autoencoder and tokenizer; 0 for all


@dataclass(frozen=True)
class TokenizerConfig:
    """The SentencePiece model that is trained on the captions."""

    vocabulary: int
    captions: int = 12_000  # clips whose captions are learnt from


@dataclass(frozen=True)
class SpectralConfig:
    """The multi-resolution spectral loss; weights of its terms, see `losses.SpectralLoss`."""

    windows: tuple[int, ...] = (2048, 512, 128)
    overlap: int = 4  # windows over each sample
    convergence: float = 1.0
    logarithm: float = 1.0
    linear: float = 0.0
    phase: float = 0.0  # of the complex error
    time_phase: float = 0.0  # of phase increments between frames
    frequency_phase: float = 0.0  # and between bins
    floor: float = 1.0  # of the logarithm, relative to the signal's own spread
    k_weighting: bool = False  # hear both signals through the weighting of loudness


@dataclass(frozen=True)
class MelConfig:
    """The loss on log-mel spectra, in decibels."""

    weight: float = 0.0
    windows: tuple[int, ...] = (2048, 1024, 512)
    bands: int = 128
    floor_db: float = -60.0  # relative to full scale
    added: float = 1.0  # weight of what the made sound has and the real one has not


@dataclass(frozen=True)
class MemberConfig:
    """One discriminator: convolutions over a spectrogram, or a transformer behind one of three front ends."""

    kind: Literal["convolution", "patches", "spectrum", "chroma"]
    size: int  # samples of a window or patch
    filters: int = 32  # of convolutions
    stride: int = 2  # windows or patches that a transformer's score is about
    window: int = 2  # scores to each side that a transformer attends to
    depth: int = 3
    width: int = 0  # of a transformer; 0 lets the size decide
    octave: float = 5.0  # above A0, where chroma listens
    octave_width: float = 1.5


@dataclass(frozen=True)
class AdversarialConfig:
    """Discriminators of the autoencoder, trained in every second step."""

    weight: float = 0.0
    features: float = 5.0  # weight of feature matching
    game: Literal["hinge", "relativistic", "least-squares"] = "relativistic"
    members: tuple[MemberConfig, ...] = ()
    start: int = 0  # step before which the autoencoder is trained alone
    head_start: int = 0  # steps from there in which the discriminators learn and the autoencoder does not feel them
    rate: float = 1.0  # of the loop's learning rate
    betas: tuple[float, ...] = (0.5, 0.99)
    noise_below: float = 0.1  # discriminator loss under which their inputs become noisy

    def __post_init__(self) -> None:
        if self.weight and not self.members:
            raise ConfigError("adversarial.weight needs discriminators", "add [[adversarial.members]]")


@dataclass(frozen=True)
class AlignmentConfig:
    """A small diffusion model of the latents, trained beside the autoencoder."""

    weight: float = 0.0
    width: int = 768
    depth: int = 4
    detached_until: int = 10_000  # step before which the autoencoder does not feel it
    fixed_target: bool = False  # let the autoencoder feel the noisy latents alone, not what is to be predicted


@dataclass(frozen=True)
class SemanticConfig:
    """Heads that read chroma and the balance of the channels off the latents."""

    weight: float = 0.0
    window: int = 8192  # samples of the targets' spectra
    detached_until: int = 10_000  # step before which the autoencoder does not feel it


@dataclass(frozen=True)
class ContrastiveConfig:
    """A critic that tells which sound, which caption and which latents belong together."""

    weight: float = 0.0
    width: int = 512
    depth: int = 4
    patch: int = 256  # samples of an audio token
    most_rolls: int = 1024  # wrong pairings of each kind, where the batch allows as many
    detached_until: int = 10_000  # step before which the autoencoder does not feel it


@dataclass(frozen=True)
class AugmentationConfig:
    """What happens to some of the crops and latents; everything is off unless it is given."""

    silence: float = 0.0  # chance of a crop that is all silence
    silent_tail: float = 0.0  # chance of a crop that ends in silence
    longest_tail: int = 4096  # samples
    chirps: int = 0  # sweeps added to each batch
    latent_dropout: float = 0.0  # chance of each latent element to be zero when it is decoded


@dataclass(frozen=True)
class AutoencoderConfig:
    """Training of the autoencoder, which starts from the principal components of the data."""

    loop: LoopConfig
    spectral: SpectralConfig
    clips: int = 0  # the first ones of the sounds; 0 for all that `sounds.toml` or `data.toml` give
    batch: int = 8
    frames: int = 32  # latents of a crop
    waveform: float = 1.0
    softnorm: float = 0.01
    latent_noise: float = 0.05  # of the latents' deviation, added before decoding
    decoder_only: bool = False  # leave the encoder and its latents as they are
    deviation_rate: float = 0.0  # at which the bottleneck's deviation follows the latents; 0 freezes it
    pca_seconds: float = 600.0
    emphasis: float = 0.3  # power of frequency by which the principal components prefer high frequencies
    whitening: float = 0.5  # 0 keeps the components' own spread, 1 makes all equal
    noise_bands: tuple[float, ...] = ()  # edges in hertz of bands whose loudness gets latents of its own
    coring: float = 0.0  # size, of latents whose mean square is 1, up to which the decoder takes them for errors
    mel: MelConfig = field(default_factory=MelConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        _require_ones(self, "batch", "frames")
        if self.contrastive.weight and self.batch < 2:
            raise ConfigError("contrastive.weight needs something to contrast with: a batch of at least 2")
        if self.coring < 0 or (self.coring and not self.noise_bands):
            raise ConfigError(f"coring must be 0 or more, and needs noise_bands, found {self.coring:g}")


@dataclass(frozen=True)
class TextTrainingConfig:
    """Training of the text encoder to tell what latents are like, before the generator learns with it."""

    loop: LoopConfig
    batch: int = 128
    frames: tuple[int, ...] = (0, 1, 2, 4)  # latents of a clip that are told one by one
    levels: int = 64  # first latents whose level is told, which is where a tempo shows
    components: int = 256  # of all that is told of a clip

    def __post_init__(self) -> None:
        _require_ones(self, "batch", "levels", "components")
        if min(self.frames, default=0) < 0:
            raise ConfigError(f"frames must be counted from 0, found {list(self.frames)}")


@dataclass(frozen=True)
class ShortConfig:
    """Beginnings of clips, many at once, before whole ones: they teach several times sooner what words mean."""

    until: int = 0  # step from which all clips are whole
    share: float = 1.0  # of the steps before it that have beginnings
    frames: tuple[int, ...] = (4, 6, 9, 16)  # latents of a batch's clips, one of these
    tokens: int = 1100  # of all clips together: their latents, and the memory tokens that each has beside them
    logsnr: tuple[float, ...] = (-6.5, 0.0)  # mostly noise: the rest is learnt from whole clips

    def __post_init__(self) -> None:
        if self.until and (not self.frames or min(self.frames) < 1):
            raise ConfigError(f"short.frames must be 1 or more, found {list(self.frames)}")


@dataclass(frozen=True)
class FocusConfig:
    """Families that are learnt more slowly than others, and so get batches of their own from a step on."""

    families: tuple[str, ...]
    start: int = 0  # step; from here on no focus that begins sooner counts
    share: float = 0.5  # of the steps
    logsnr: tuple[float, ...] = (-6.5, 0.0)  # mostly noise, where it is settled what a clip will be

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"focus.share must be from 0 to 1, found {self.share:g}")


@dataclass(frozen=True)
class DiTTrainingConfig:
    """Flow-matching training of the transformer, its conditioner and its text encoder."""

    loop: LoopConfig
    batch: int = 32
    families: tuple[str, ...] = ()  # of the encoded sounds; none means all
    times: Literal["truncated-logit-normal", "logsnr-uniform", "uniform"] = "truncated-logit-normal"
    logsnr: tuple[float, ...] = (-6.0, 5.0)  # range of "logsnr-uniform"; samplers end near 2
    condition_dropout: float = 0.1
    masks: tuple[float, ...] = (0.1, 0.8, 0.1, 0.0)  # chances of segments, full, causal, spans
    kept_weight: float = 0.1  # of the loss on kept frames
    levelling: float = 0.0  # weight of a clip: its power to the negative of this, so that quiet ones count as much
    short: ShortConfig = field(default_factory=ShortConfig)
    focus: tuple[FocusConfig, ...] = ()  # one after the other
    silence_seconds: float = 0.5  # mean of the exponential length of the silence learnt behind a clip

    def __post_init__(self) -> None:
        _require_ones(self, "batch")
        if len(self.masks) != 4 or abs(sum(self.masks) - 1) > 1e-6:
            raise ConfigError(f"masks must be four chances that add up to 1, found {list(self.masks)}")
        focus = (("focus.", focus.logsnr) for focus in self.focus)
        for name, found in (("", self.logsnr), ("short.", self.short.logsnr), *focus):
            if len(found) != 2:
                raise ConfigError(f"{name}logsnr must be a lowest and a highest value, found {list(found)}")

    def focus_at(self, step: int) -> FocusConfig | None:
        """What a step may be about alone: the focus that began last."""
        begun = [focus for focus in self.focus if step >= focus.start]
        return max(begun, key=lambda focus: focus.start, default=None)


@dataclass(frozen=True)
class DistillationConfig:
    """Training of the transformer to jump to where its teacher's guided path ends."""

    loop: LoopConfig
    batch: int = 32
    teacher_steps: int = 12
    guidance: float = 3.0
    refresh_every: int = 4  # steps that share the teacher's paths
    jump_below: float = 1.0  # time above which the student answers as its teacher does, and no path begins

    def __post_init__(self) -> None:
        _require_ones(self, "batch", "teacher_steps", "refresh_every")


@dataclass(frozen=True)
class ScorerConfig:
    """Who says how far sounds are from their captions: the project's own critic of latents, unless CLAP is named."""

    width: int = 128
    depth: int = 2
    clap: str = ""  # folder of a CLAP model as transformers keeps it; absolute, or seen from the recipe's folder


@dataclass(frozen=True)
class PostConfig:
    """Adversarial post-training of a generator that needs few steps."""

    loop: LoopConfig
    batch: int = 32
    logsnr: tuple[float, ...] = (-6.0, 2.0)  # range of the noise that the generator starts from
    pure_noise: float = 0.15  # share of starts from nothing but noise
    judged: Literal["uniform", "logit-normal"] = "uniform"  # noise under which the discriminator looks
    judged_times: tuple[float, ...] = (0.0, 0.8)
    condition_dropout: float = 0.0
    discriminator_every: int = 2  # steps
    rate: float = 3.0  # of the discriminator, in the loop's learning rate
    betas: tuple[float, ...] = (0.0, 0.99)  # of the discriminator
    layers: tuple[int, ...] = ()  # blocks that the discriminator looks at; none means one at 70 % of the depth
    head_width: int = 64
    game: Literal["relativistic", "hinge"] = "relativistic"  # of the discriminator
    adversarial: float = 1.0
    contrastive: float = 1.0  # of wrong captions, beside the game
    contrastive_scale: float = 1.0
    penalty: float = 100.0  # on what a little noise changes
    penalty_noise: float = 0.01
    centring: float = 0.0  # keeps scores near zero, of which otherwise only differences matter
    features: float = 0.0
    text: float = 0.0  # of the distance between sound and caption
    text_start: int = 0  # step from which the generator feels it; a critic of its own needs some to learn
    scorer: ScorerConfig = field(default_factory=ScorerConfig)

    def __post_init__(self) -> None:
        _require_ones(self, "batch", "head_width")
        if self.discriminator_every < 2:
            raise ConfigError(f"discriminator_every must be 2 or more, found {self.discriminator_every}")
        for name in ("logsnr", "judged_times"):
            if len(getattr(self, name)) != 2:
                raise ConfigError(f"{name} must be a lowest and a highest value, found {list(getattr(self, name))}")
        if self.head_width % 16:
            raise ConfigError(f"head_width must be a multiple of 16, found {self.head_width}")


def read_toml(cls: type[T], path: Path) -> T:
    """Parse a TOML file into dataclass `cls`. Raises ConfigError."""
    return parse(cls, read_table(path))


def read_table(path: Path) -> dict[str, object]:
    """Contents of a TOML file. Raises ConfigError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path} as TOML: {error}") from error
