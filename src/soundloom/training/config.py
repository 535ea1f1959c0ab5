"""The settings of the training stages: frozen dataclasses that recipes' TOML files are parsed into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from soundloom.config.musicgen.model import AdapterSizes
from soundloom.config.ranges import Ranged, Within
from soundloom.datasets.examples import Selection
from soundloom.datasets.synthetic.sounds.stems import Kind
from soundloom.errors import ConfigError, shown
from soundloom.training.ranges import (
    BatchSize,
    Beta,
    Blocks,
    Clips,
    Count,
    Factor,
    Hertz,
    LearningRate,
    LogSNR,
    LRScale,
    Overlap,
    Power,
    Seconds,
    Seed,
    Share,
    Size,
    Steps,
    Weight,
    Width,
    WindowSamples,
    require_pair,
    require_windows,
)


@dataclass(frozen=True)
class LoopConfig(Ranged):
    """The optimizer and its learning rate schedule.

    `cosine` is a linear warm-up, then cosine decay to the final rate; `cycles` repeats it over equal parts of the
    steps, each from half the learning rate of the one before. `inverse` is an exponential warm-up, by `inverse_warmup`
    to the power of the step, then decay as (1 + step / inverse_gamma) to the power of `-inverse_power`. `constant` has
    only the linear warm-up.
    """

    steps: Steps
    learning_rate: LearningRate
    final_learning_rate: LearningRate
    warmup_steps: Steps = 100
    cycles: Annotated[int, Within(1, 10_000)] = 1
    schedule: Literal["cosine", "inverse", "constant"] = "cosine"
    inverse_gamma: Annotated[float, Within(1, 1e12)] = 1e6
    inverse_power: Annotated[float, Within(0, 10)] = 0.5
    inverse_warmup: Annotated[float, Within(0, 0.9999999)] = 0.995
    muon_lr_scale: Weight = 0.0  # steps matrices of transformer blocks by Muon at this multiple of the rate; 0: AdamW
    betas: tuple[Beta, ...] = (0.9, 0.95)
    epsilon: Annotated[float, Within(0, 1)] = 1e-8  # of AdamW
    weight_decay: Annotated[float, Within(0, 100)] = 0.01
    decay_vectors: bool = False  # weight decay also of biases, norms and magnitudes
    clip_norm: Annotated[float, Within(1e-9, 1e9)] = 1.0
    ema: Share = 0.999
    accumulate: BatchSize = 1  # micro-batches per step, which several processes divide among themselves
    frozen: tuple[str, ...] = ()  # name prefixes of weights to freeze, such as "text."
    divergence_factor: Factor = 4.0  # a loss diverges when it exceeds its running median by this many times its size
    divergence_patience: Count = 100  # consecutive diverging steps after which training stops
    save_every: Count = 500  # steps
    log_every: Count = 50
    preview_every: Count = 1000  # steps between audio clips in TensorBoard
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("loop.betas", self.betas)
        if self.steps % self.cycles:
            raise ConfigError(f"loop.cycles must divide loop.steps, found {self.cycles} and {self.steps}")


@dataclass(frozen=True)
class DataConfig(Ranged):
    """The dataset of `data.toml`; without that file, sounds are synthetic (see `SoundsConfig`)."""

    source: Literal["folder", "webdataset", "latents"]
    path: str  # absolute, or relative to the recipe's folder
    selection: Selection = field(default_factory=Selection)
    clips: Size = 0  # limits the autoencoder and the tokenizer to the first clips; 0 for all


@dataclass(frozen=True)
class TokenizerConfig(Ranged):
    """The SentencePiece model that is trained on the captions."""

    vocabulary_size: Annotated[int, Within(8, 1_000_000)]
    clips: Clips = 12_000  # whose captions are used


@dataclass(frozen=True)
class SpectralConfig(Ranged):
    """Weights of the terms of the multi-resolution spectral loss, see `losses.SpectralLoss`."""

    windows: tuple[WindowSamples, ...] = (2048, 512, 128)
    overlap: Overlap = 4  # windows that cover each sample
    spectral_convergence: Weight = 1.0
    log_magnitude: Weight = 1.0
    linear_magnitude: Weight = 0.0
    complex_error: Weight = 0.0
    instantaneous_frequency: Weight = 0.0  # phase increments between frames
    group_delay: Weight = 0.0  # phase increments between bins
    log_floor: Annotated[float, Within(1e-9, 1e9)] = 1.0  # relative to the standard deviation of the signal
    k_weighting: bool = False  # filter both signals by the weighting of loudness first

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
    excess_weight: Weight = 1.0  # of energy that the real sound lacks

    def __post_init__(self) -> None:
        super().__post_init__()
        require_windows("mel.windows", self.windows)


@dataclass(frozen=True)
class DiscriminatorConfig(Ranged):
    """One discriminator: convolutions over a spectrogram, or a transformer over one of three representations."""

    kind: Literal["convolution", "patches", "spectrum", "chroma"]
    size: WindowSamples  # samples of a window or patch
    filters: Width = 32  # of convolutions
    stride: Annotated[int, Within(1, 1024)] = 2  # windows or patches per score of a transformer
    window: Annotated[int, Within(0, 4096)] = 2  # scores on each side that a transformer attends to
    depth: Blocks = 3
    width: Annotated[int, Within(0, 8192)] = 0  # of a transformer; 0 derives it from the size
    octave: Annotated[float, Within(0, 10)] = 5.0  # above A0: the center of the chroma filters
    octave_width: Annotated[float, Within(0.01, 10)] = 1.5


@dataclass(frozen=True)
class AdversarialConfig(Ranged):
    """The discriminators of the autoencoder, trained in every second step."""

    weight: Weight = 0.0
    feature_matching: Weight = 5.0
    loss: Literal["hinge", "relativistic", "least-squares"] = "relativistic"
    discriminators: tuple[DiscriminatorConfig, ...] = ()
    start: Steps = 0  # step at which discriminators begin to train
    head_start: Steps = 0  # steps from there without an adversarial loss for the autoencoder
    lr_scale: LRScale = 1.0
    betas: tuple[Beta, ...] = (0.5, 0.99)
    noise_below: Annotated[float, Within(0, 1e6)] = 0.1  # discriminator loss below which noise is added to inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("adversarial.betas", self.betas)
        if self.weight and not self.discriminators:
            raise ConfigError("adversarial.weight needs discriminators", "add [[adversarial.discriminators]]")


@dataclass(frozen=True)
class AlignmentConfig(Ranged):
    """A small diffusion model of the latents, trained together with the autoencoder."""

    weight: Weight = 0.0
    width: Width = 768
    depth: Blocks = 4
    detached_until: Steps = 10_000  # step before which no gradient reaches the autoencoder
    detach_target: bool = False  # pass gradients through the noisy latents only, not through the target


@dataclass(frozen=True)
class SemanticConfig(Ranged):
    """Linear heads that predict chroma and the stereo balance from the latents."""

    weight: Weight = 0.0
    window: WindowSamples = 8192  # of the targets' spectra
    detached_until: Steps = 10_000  # step before which no gradient reaches the autoencoder


@dataclass(frozen=True)
class ContrastiveConfig(Ranged):
    """A critic that scores whether audio, caption and latents belong together."""

    weight: Weight = 0.0
    width: Width = 512
    depth: Blocks = 4
    patch: Annotated[int, Within(1, 65_536)] = 256  # samples of an audio token
    max_rolls: Annotated[int, Within(1, 65_536)] = 1024  # limits the mismatched pairs of each kind in a batch
    detached_until: Steps = 10_000  # step before which no gradient reaches the autoencoder


@dataclass(frozen=True)
class AugmentationConfig(Ranged):
    """Augmentation of crops and latents; all of it is off by default."""

    silence: Share = 0.0  # probability that a crop is silenced
    silent_tail: Share = 0.0  # probability that the end of a crop is silenced
    max_tail: Annotated[int, Within(1, 100_000_000)] = 4096  # samples
    chirps: Annotated[int, Within(0, 65_536)] = 0  # sweeps added to each batch
    latent_dropout: Share = 0.0  # probability that an element of the latents is zeroed before decoding


@dataclass(frozen=True)
class AutoencoderConfig(Ranged):
    """Training of the autoencoder, which is initialized from the principal components of the data."""

    loop: LoopConfig
    spectral: SpectralConfig
    clips: Size = 0  # limits training to the first clips; 0 for all of `sounds.toml` or `data.toml`
    batch_size: BatchSize = 8
    frames: Annotated[int, Within(2, 65_536)] = 32  # latents of a crop
    waveform: Weight = 1.0
    softnorm: Weight = 0.01
    latent_noise: Annotated[float, Within(0, 100)] = 0.05  # standard deviation, added before decoding
    decoder_only: bool = False  # freeze the encoder and the bottleneck
    std_momentum: Share = 0.0  # of the bottleneck's running standard deviation; 0 freezes it
    pca_seconds: Annotated[float, Within(0.001, 100_000)] = 600.0
    emphasis: Power = 0.3  # exponent of frequency by which the PCA weights its input
    whitening: Share = 0.5  # 0 keeps the variances of the components, 1 makes them equal
    noise_bands: tuple[Hertz, ...] = ()  # edges in hertz of bands whose loudness gets separate latent channels
    soft_threshold: Weight = 0.0  # shrinks latents in the decoder by this much, for unit mean square
    mel: MelConfig = field(default_factory=MelConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.contrastive.weight and self.batch_size < 2:
            raise ConfigError("contrastive.weight needs a batch_size of at least 2")
        if list(self.noise_bands) != sorted(set(self.noise_bands)) or len(self.noise_bands) == 1:
            raise ConfigError(f"noise_bands must be two or more rising edges, found {shown(list(self.noise_bands))}")
        if self.soft_threshold and not self.noise_bands:
            raise ConfigError(f"soft_threshold needs noise_bands, found {self.soft_threshold:g}")


@dataclass(frozen=True)
class TextTrainingConfig(Ranged):
    """Pre-training of the text encoder to predict statistics of latents from captions."""

    loop: LoopConfig
    batch_size: BatchSize = 128
    frames: tuple[Annotated[int, Within(0, 65_536)], ...] = (0, 1, 2, 4)  # latents that are targets one by one
    levels: Annotated[int, Within(1, 65_536)] = 64  # first latents whose level is a target, which shows the tempo
    components: Annotated[int, Within(1, 65_536)] = 256  # principal components of all targets


@dataclass(frozen=True)
class CropConfig(Ranged):
    """Train on many crops, the opening frames of clips, before full clips: the text is learned several times sooner."""

    until: Steps = 0  # step from which all clips are full
    share: Share = 1.0  # of the steps before it that use crops
    frames: tuple[BatchSize, ...] = (4, 6, 9, 16)  # lengths in latents; each batch uses one of them
    tokens: Clips = 1100  # of a batch: latents and the memory tokens of each crop
    logsnr: tuple[LogSNR, ...] = (-6.5, 0.0)  # mostly noise; full clips teach the rest

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until and not self.frames:
            raise ConfigError("crop_first.frames needs a number of latents")


@dataclass(frozen=True)
class CurriculumConfig(Ranged):
    """A phase of the curriculum: from its first step, some batches hold only the families that are learned slowly."""

    families: tuple[str, ...]
    start: Steps = 0  # step; replaces phases that start earlier
    share: Share = 0.5  # of the steps
    logsnr: tuple[LogSNR, ...] = (-6.5, 0.0)  # mostly noise, where the kind of sound is decided


@dataclass(frozen=True)
class DiTTrainingConfig(Ranged):
    """Flow-matching training of the transformer, its conditioner and its text encoder."""

    loop: LoopConfig
    batch_size: BatchSize = 32
    families: tuple[str, ...] = ()  # of the encoded sounds; none means all
    timesteps: Literal["truncated-logit-normal", "logsnr-uniform", "uniform"] = "truncated-logit-normal"
    logsnr: tuple[LogSNR, ...] = (-6.0, 5.0)  # range of "logsnr-uniform"; samplers end near 2
    cfg_dropout: Share = 0.1
    mask_probabilities: tuple[Share, ...] = (0.1, 0.8, 0.1, 0.0)  # of segments, full, causal, spans
    preserved_weight: Weight = 0.1  # of the loss on frames that inpainting preserves
    loss_weighting: Weight = 0.0  # weights each clip by its power to the negative of this, in favor of quiet ones
    crop_first: CropConfig = field(default_factory=CropConfig)
    curriculum: tuple[CurriculumConfig, ...] = ()
    silence_seconds: Seconds = 0.5  # mean of the exponentially distributed silence after each clip

    def __post_init__(self) -> None:
        super().__post_init__()
        chances = self.mask_probabilities
        if len(chances) != 4 or abs(sum(chances) - 1) > 1e-6:
            raise ConfigError(f"mask_probabilities must be four numbers that sum to 1, found {list(chances)}")
        phases = (("curriculum.", phase.logsnr) for phase in self.curriculum)
        for name, found in (("", self.logsnr), ("crop_first.", self.crop_first.logsnr), *phases):
            require_pair(f"{name}logsnr", found, rising=True)

    def curriculum_at(self, step: int) -> CurriculumConfig | None:
        """Return the phase of the curriculum that started last, if any has."""
        started = [phase for phase in self.curriculum if step >= phase.start]
        return max(started, key=lambda phase: phase.start, default=None)


@dataclass(frozen=True)
class DistillConfig(Ranged):
    """Distillation: the transformer learns to predict the end of its teacher's guided path in one step."""

    loop: LoopConfig
    batch_size: BatchSize = 32
    teacher_steps: Annotated[int, Within(1, 1000)] = 12
    guidance: Annotated[float, Within(-100, 100)] = 3.0
    refresh_every: Count = 4  # steps that share the teacher's paths
    distill_below: Share = 1.0  # timestep above which the student learns the teacher's own prediction instead


@dataclass(frozen=True)
class ScorerConfig(Ranged):
    """The scorer of text alignment: a critic of latents that is trained alongside, unless CLAP is named."""

    width: Width = 128
    depth: Blocks = 2
    clap: str = ""  # folder of a CLAP model of transformers; absolute, or relative to the recipe's folder


@dataclass(frozen=True)
class PostConfig(Ranged):
    """Adversarial post-training of a few-step generator."""

    loop: LoopConfig
    batch_size: BatchSize = 32
    logsnr: tuple[LogSNR, ...] = (-6.0, 2.0)  # range of the generator's input noise
    pure_noise: Share = 0.15  # share of inputs that are noise alone
    discriminator_timesteps: Literal["uniform", "logit-normal"] = "uniform"
    discriminator_time_range: tuple[Share, ...] = (0.0, 0.8)
    cfg_dropout: Share = 0.0
    discriminator_every: Annotated[int, Within(2, 1_000_000)] = 2  # steps
    lr_scale: LRScale = 3.0  # of the discriminator
    betas: tuple[Beta, ...] = (0.0, 0.99)  # of the discriminator
    # Blocks whose features the discriminator reads; none means one block at 70 % of the depth.
    discriminator_layers: tuple[Annotated[int, Within(0, 1023)], ...] = ()
    head_width: Annotated[int, Within(16, 8192)] = 64
    loss: Literal["relativistic", "hinge"] = "relativistic"  # of the discriminator
    adversarial: Weight = 1.0
    contrastive: Weight = 1.0  # of mismatched captions, relative to `adversarial`
    contrastive_scale: Annotated[float, Within(0, 1000)] = 1.0
    gradient_penalty: Annotated[float, Within(0, 1e9)] = 100.0
    gradient_penalty_noise: Annotated[float, Within(1e-9, 100)] = 0.01  # standard deviation of the finite difference
    logit_centering: Weight = 0.0  # keeps scores near zero; a relativistic loss only sees differences
    feature_matching: Weight = 0.0
    text_alignment: Weight = 0.0  # of the scorer's distance between sound and caption
    text_alignment_start: Steps = 0  # step; a critic that is trained alongside needs some steps first
    scorer: ScorerConfig = field(default_factory=ScorerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("betas", self.betas)
        for name in ("logsnr", "discriminator_time_range"):
            require_pair(name, getattr(self, name), rising=True)
        if self.head_width % 16:
            raise ConfigError(f"head_width must be a multiple of 16, found {self.head_width}")


@dataclass(frozen=True)
class InstructTrainingConfig(Ranged):
    """Training of the adapter of an Instruct-MusicGen editor."""

    loop: LoopConfig
    adapter: AdapterSizes = field(default_factory=AdapterSizes)
    stems: Kind = "music"  # of which the synthetic pieces consist
    batch_size: BatchSize = 8
    seconds: Annotated[float, Within(0.05, 600)] = 5.0  # of a clip
    pieces: Size = 0  # limits training to this many different pieces; 0 for a new one in each edit
    text_dropout: Share = 0.3  # probability that an instruction is dropped, for guidance
