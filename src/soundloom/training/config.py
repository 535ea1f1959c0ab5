"""What a training run is told, as frozen dataclasses read strictly from TOML files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from soundloom.config.ranges import Ranged, Within
from soundloom.datasets.examples import Selection
from soundloom.errors import ConfigError, shown
from soundloom.training.ranges import (
    BatchSize,
    Blocks,
    Clips,
    Count,
    Factor,
    Hertz,
    Layer,
    LearningRate,
    LogSNR,
    Overlap,
    Power,
    Seconds,
    Seed,
    Share,
    Size,
    Steps,
    Weight,
    WindowSamples,
    require_pair,
    require_windows,
)


@dataclass(frozen=True)
class LoopConfig(Ranged):
    """The optimizer and its course: linear warm-up, then a half cosine from the first rate to the last.

    Several cycles do so one after another in equal parts of the steps, each from half the rate of the one before.
    """

    steps: Steps
    learning_rate: LearningRate
    final_learning_rate: LearningRate
    warmup_steps: Steps = 100
    cycles: Annotated[int, Within(1, 10_000)] = 1
    muon: Weight = 0.0  # rate of the matrices in blocks under Muon, in learning rates; 0 takes AdamW for all
    betas: tuple[Annotated[float, Within(0, 0.999999)], ...] = (0.9, 0.95)
    weight_decay: Annotated[float, Within(0, 100)] = 0.01
    clip_norm: Annotated[float, Within(1e-9, 1e9)] = 1.0
    ema: Share = 0.999
    accumulate: BatchSize = 1  # batches whose gradients a step adds up; several processes share them
    frozen: tuple[str, ...] = ()  # beginnings of names of weights that stay as they are, such as "text."
    divergence: Factor = 4.0  # a loss is too high that lies above its usual size by so many times that size
    patience: Count = 100  # steps on end with too high a loss, after which training stops
    save_every: Count = 500  # steps
    log_every: Count = 50
    preview_every: Count = 1000  # clips to hear in the logs
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("loop.betas", self.betas)
        if self.steps % self.cycles:
            raise ConfigError(f"loop.cycles must divide loop.steps, found {self.cycles} and {self.steps}")


@dataclass(frozen=True)
class DataConfig(Ranged):
    """Where sounds come from; without it they are those of the synthetic world, see `SoundsConfig`."""

    source: Literal["folder", "webdataset", "latents"]
    path: str  # absolute, or seen from the recipe's folder
    selection: Selection = field(default_factory=Selection)
    clips: Size = 0  # the first ones alone are heard by autoencoder and tokenizer; 0 for all


@dataclass(frozen=True)
class TokenizerConfig(Ranged):
    """The SentencePiece model that is trained on the captions."""

    vocabulary: Annotated[int, Within(8, 1_000_000)]
    captions: Clips = 12_000  # clips whose captions are learnt from


@dataclass(frozen=True)
class SpectralConfig(Ranged):
    """The multi-resolution spectral loss; weights of its terms, see `losses.SpectralLoss`."""

    windows: tuple[WindowSamples, ...] = (2048, 512, 128)
    overlap: Overlap = 4  # windows over each sample
    convergence: Weight = 1.0
    logarithm: Weight = 1.0
    linear: Weight = 0.0
    phase: Weight = 0.0  # of the complex error
    time_phase: Weight = 0.0  # of phase increments between frames
    frequency_phase: Weight = 0.0  # and between bins
    floor: Annotated[float, Within(1e-9, 1e9)] = 1.0  # of the logarithm, relative to the signal's own spread
    k_weighting: bool = False  # hear both signals through the weighting of loudness

    def __post_init__(self) -> None:
        super().__post_init__()
        require_windows("spectral.windows", self.windows)


@dataclass(frozen=True)
class MelConfig(Ranged):
    """The loss on log-mel spectra, in decibels."""

    weight: Weight = 0.0
    windows: tuple[WindowSamples, ...] = (2048, 1024, 512)
    bands: Annotated[int, Within(1, 1024)] = 128
    floor_db: Annotated[float, Within(-200, 0)] = -60.0  # relative to full scale
    added: Weight = 1.0  # weight of what the made sound has and the real one has not

    def __post_init__(self) -> None:
        super().__post_init__()
        require_windows("mel.windows", self.windows)


@dataclass(frozen=True)
class MemberConfig(Ranged):
    """One discriminator: convolutions over a spectrogram, or a transformer behind one of three front ends."""

    kind: Literal["convolution", "patches", "spectrum", "chroma"]
    size: WindowSamples  # samples of a window or patch
    filters: Layer = 32  # of convolutions
    stride: Annotated[int, Within(1, 1024)] = 2  # windows or patches that a transformer's score is about
    window: Annotated[int, Within(0, 4096)] = 2  # scores to each side that a transformer attends to
    depth: Blocks = 3
    width: Annotated[int, Within(0, 8192)] = 0  # of a transformer; 0 lets the size decide
    octave: Annotated[float, Within(0, 10)] = 5.0  # above A0, where chroma listens
    octave_width: Annotated[float, Within(0.01, 10)] = 1.5


@dataclass(frozen=True)
class AdversarialConfig(Ranged):
    """Discriminators of the autoencoder, trained in every second step."""

    weight: Weight = 0.0
    features: Weight = 5.0  # weight of feature matching
    game: Literal["hinge", "relativistic", "least-squares"] = "relativistic"
    members: tuple[MemberConfig, ...] = ()
    start: Steps = 0  # step before which the autoencoder is trained alone
    head_start: Steps = 0  # steps from there in which the discriminators learn and the autoencoder does not feel them
    rate: Annotated[float, Within(0, 1000)] = 1.0  # of the loop's learning rate
    betas: tuple[Annotated[float, Within(0, 0.999999)], ...] = (0.5, 0.99)
    noise_below: Annotated[float, Within(0, 1e6)] = 0.1  # discriminator loss under which their inputs become noisy

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("adversarial.betas", self.betas)
        if self.weight and not self.members:
            raise ConfigError("adversarial.weight needs discriminators", "add [[adversarial.members]]")


@dataclass(frozen=True)
class AlignmentConfig(Ranged):
    """A small diffusion model of the latents, trained beside the autoencoder."""

    weight: Weight = 0.0
    width: Layer = 768
    depth: Blocks = 4
    detached_until: Steps = 10_000  # step before which the autoencoder does not feel it
    fixed_target: bool = False  # let the autoencoder feel the noisy latents alone, not what is to be predicted


@dataclass(frozen=True)
class SemanticConfig(Ranged):
    """Heads that read chroma and the balance of the channels off the latents."""

    weight: Weight = 0.0
    window: WindowSamples = 8192  # samples of the targets' spectra
    detached_until: Steps = 10_000  # step before which the autoencoder does not feel it


@dataclass(frozen=True)
class ContrastiveConfig(Ranged):
    """A critic that tells which sound, which caption and which latents belong together."""

    weight: Weight = 0.0
    width: Layer = 512
    depth: Blocks = 4
    patch: Annotated[int, Within(1, 65_536)] = 256  # samples of an audio token
    most_rolls: Annotated[int, Within(1, 65_536)] = 1024  # wrong pairings of each kind, where the batch allows as many
    detached_until: Steps = 10_000  # step before which the autoencoder does not feel it


@dataclass(frozen=True)
class AugmentationConfig(Ranged):
    """What happens to some of the crops and latents; everything is off unless it is given."""

    silence: Share = 0.0  # chance of a crop that is all silence
    silent_tail: Share = 0.0  # chance of a crop that ends in silence
    longest_tail: Annotated[int, Within(1, 100_000_000)] = 4096  # samples
    chirps: Annotated[int, Within(0, 65_536)] = 0  # sweeps added to each batch
    latent_dropout: Share = 0.0  # chance of each latent element to be zero when it is decoded


@dataclass(frozen=True)
class AutoencoderConfig(Ranged):
    """Training of the autoencoder, which starts from the principal components of the data."""

    loop: LoopConfig
    spectral: SpectralConfig
    clips: Size = 0  # the first ones of the sounds; 0 for all that `sounds.toml` or `data.toml` give
    batch: BatchSize = 8
    frames: Annotated[int, Within(2, 65_536)] = 32  # latents of a crop
    waveform: Weight = 1.0
    softnorm: Weight = 0.01
    latent_noise: Annotated[float, Within(0, 100)] = 0.05  # of the latents' deviation, added before decoding
    decoder_only: bool = False  # leave the encoder and its latents as they are
    deviation_rate: Share = 0.0  # at which the bottleneck's deviation follows the latents; 0 freezes it
    pca_seconds: Annotated[float, Within(0.001, 100_000)] = 600.0
    emphasis: Power = 0.3  # power of frequency by which the principal components prefer high frequencies
    whitening: Share = 0.5  # 0 keeps the components' own spread, 1 makes all equal
    noise_bands: tuple[Hertz, ...] = ()  # edges in hertz of bands whose loudness gets latents of its own
    coring: Weight = 0.0  # size, of latents whose mean square is 1, up to which the decoder takes them for errors
    mel: MelConfig = field(default_factory=MelConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.contrastive.weight and self.batch < 2:
            raise ConfigError("contrastive.weight needs something to contrast with: a batch of at least 2")
        if list(self.noise_bands) != sorted(set(self.noise_bands)) or len(self.noise_bands) == 1:
            raise ConfigError(f"noise_bands must be two or more rising edges, found {shown(list(self.noise_bands))}")
        if self.coring and not self.noise_bands:
            raise ConfigError(f"coring needs noise_bands, found {self.coring:g}")


@dataclass(frozen=True)
class TextTrainingConfig(Ranged):
    """Training of the text encoder to tell what latents are like, before the generator learns with it."""

    loop: LoopConfig
    batch: BatchSize = 128
    frames: tuple[Annotated[int, Within(0, 65_536)], ...] = (0, 1, 2, 4)  # latents of a clip that are told one by one
    levels: Annotated[int, Within(1, 65_536)] = 64  # first latents whose level is told, which is where a tempo shows
    components: Annotated[int, Within(1, 65_536)] = 256  # of all that is told of a clip


@dataclass(frozen=True)
class ShortConfig(Ranged):
    """Beginnings of clips, many at once, before whole ones: they teach several times sooner what words mean."""

    until: Steps = 0  # step from which all clips are whole
    share: Share = 1.0  # of the steps before it that have beginnings
    frames: tuple[BatchSize, ...] = (4, 6, 9, 16)  # latents of a batch's clips, one of these
    tokens: Clips = 1100  # of all clips together: their latents, and the memory tokens that each has beside them
    logsnr: tuple[LogSNR, ...] = (-6.5, 0.0)  # mostly noise: the rest is learnt from whole clips

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until and not self.frames:
            raise ConfigError("short.frames needs a number of latents")


@dataclass(frozen=True)
class FocusConfig(Ranged):
    """Families that are learnt more slowly than others, and so get batches of their own from a step on."""

    families: tuple[str, ...]
    start: Steps = 0  # step; from here on no focus that begins sooner counts
    share: Share = 0.5  # of the steps
    logsnr: tuple[LogSNR, ...] = (-6.5, 0.0)  # mostly noise, where it is settled what a clip will be


@dataclass(frozen=True)
class DiTTrainingConfig(Ranged):
    """Flow-matching training of the transformer, its conditioner and its text encoder."""

    loop: LoopConfig
    batch: BatchSize = 32
    families: tuple[str, ...] = ()  # of the encoded sounds; none means all
    times: Literal["truncated-logit-normal", "logsnr-uniform", "uniform"] = "truncated-logit-normal"
    logsnr: tuple[LogSNR, ...] = (-6.0, 5.0)  # range of "logsnr-uniform"; samplers end near 2
    condition_dropout: Share = 0.1
    masks: tuple[Share, ...] = (0.1, 0.8, 0.1, 0.0)  # chances of segments, full, causal, spans
    kept_weight: Weight = 0.1  # of the loss on kept frames
    leveling: Weight = 0.0  # weight of a clip: its power to the negative of this, so that quiet ones count as much
    short: ShortConfig = field(default_factory=ShortConfig)
    focus: tuple[FocusConfig, ...] = ()  # one after the other
    silence_seconds: Seconds = 0.5  # mean of the exponential length of the silence learnt behind a clip

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.masks) != 4 or abs(sum(self.masks) - 1) > 1e-6:
            raise ConfigError(f"masks must be four chances that add up to 1, found {list(self.masks)}")
        focus = (("focus.", focus.logsnr) for focus in self.focus)
        for name, found in (("", self.logsnr), ("short.", self.short.logsnr), *focus):
            require_pair(f"{name}logsnr", found, rising=True)

    def focus_at(self, step: int) -> FocusConfig | None:
        """What a step may be about alone: the focus that began last."""
        begun = [focus for focus in self.focus if step >= focus.start]
        return max(begun, key=lambda focus: focus.start, default=None)


@dataclass(frozen=True)
class DistillConfig(Ranged):
    """Training of the transformer to jump to where its teacher's guided path ends."""

    loop: LoopConfig
    batch: BatchSize = 32
    teacher_steps: Annotated[int, Within(1, 1000)] = 12
    guidance: Annotated[float, Within(-100, 100)] = 3.0
    refresh_every: Count = 4  # steps that share the teacher's paths
    jump_below: Share = 1.0  # time above which the student answers as its teacher does, and no path begins


@dataclass(frozen=True)
class ScorerConfig(Ranged):
    """Who says how far sounds are from their captions: the project's own critic of latents, unless CLAP is named."""

    width: Layer = 128
    depth: Blocks = 2
    clap: str = ""  # folder of a CLAP model as transformers keeps it; absolute, or seen from the recipe's folder


@dataclass(frozen=True)
class PostConfig(Ranged):
    """Adversarial post-training of a generator that needs few steps."""

    loop: LoopConfig
    batch: BatchSize = 32
    logsnr: tuple[LogSNR, ...] = (-6.0, 2.0)  # range of the noise that the generator starts from
    pure_noise: Share = 0.15  # share of starts from nothing but noise
    judged: Literal["uniform", "logit-normal"] = "uniform"  # noise under which the discriminator looks
    judged_times: tuple[Share, ...] = (0.0, 0.8)
    condition_dropout: Share = 0.0
    discriminator_every: Annotated[int, Within(2, 1_000_000)] = 2  # steps
    rate: Annotated[float, Within(0, 1000)] = 3.0  # of the discriminator, in the loop's learning rate
    betas: tuple[Annotated[float, Within(0, 0.999999)], ...] = (0.0, 0.99)  # of the discriminator
    layers: tuple[
        Annotated[int, Within(0, 1023)], ...
    ] = ()  # blocks that the discriminator looks at; none means one at 70 % of the depth
    head_width: Annotated[int, Within(16, 8192)] = 64
    game: Literal["relativistic", "hinge"] = "relativistic"  # of the discriminator
    adversarial: Weight = 1.0
    contrastive: Weight = 1.0  # of wrong captions, beside the game
    contrastive_scale: Annotated[float, Within(0, 1000)] = 1.0
    penalty: Annotated[float, Within(0, 1e9)] = 100.0  # on what a little noise changes
    penalty_noise: Annotated[float, Within(1e-9, 100)] = 0.01
    centering: Weight = 0.0  # keeps scores near zero, of which otherwise only differences matter
    features: Weight = 0.0
    text: Weight = 0.0  # of the distance between sound and caption
    text_start: Steps = 0  # step from which the generator feels it; a critic of its own needs some to learn
    scorer: ScorerConfig = field(default_factory=ScorerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("betas", self.betas)
        for name in ("logsnr", "judged_times"):
            require_pair(name, getattr(self, name), rising=True)
        if self.head_width % 16:
            raise ConfigError(f"head_width must be a multiple of 16, found {self.head_width}")
