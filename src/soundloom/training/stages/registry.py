"""The registry of training stages.

To add a stage, add a line to `STAGES` and a file of its name beside this one, with a function `run(context, config)`,
or `run(context)` for a stage without a configuration. It returns whether the stage is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from soundloom.errors import RequestError
from soundloom.training import config as configs

EXPORT = "export"  # the command after the stages, which writes a model folder


@dataclass(frozen=True)
class StageSpec:
    """A stage: the name of its command, its file, its recipe file and its folder, and how it depends on others."""

    name: str
    config: type | None  # of NAME.toml; none for a stage that reads the files of others
    reads: tuple[str, ...] = ()  # warn when these have changed; StageContext raises when one is missing
    starts_from: tuple[str, ...] = ()  # it trains the result of the first of these that the recipe has
    produces: tuple[str, ...] = ()  # paths in the run directory, one of which it writes; by default NAME/trained.pt
    family: Literal["stable_audio", "musicgen"] = "stable_audio"
    from_scratch: bool = False  # not for pretrained models
    exportable: bool = False  # its result is a generator

    @property
    def results(self) -> tuple[str, ...]:
        return self.produces or (f"{self.name}/trained.pt",)

    def require_suitable(self, family: str, pretrained: bool) -> None:
        """Raise RequestError where the stage is not for models of this family, or not for pretrained ones."""
        if self.family == "musicgen" != family:
            raise RequestError(f"train {self.name} needs a MusicGen model", "for example --from musicgen-small")
        if family != self.family:
            raise RequestError(f"train {self.name} is for Stable Audio models", "MusicGen has only the stage instruct")
        if pretrained and self.from_scratch:
            raise RequestError(
                f"train {self.name} is for models from scratch, and a pretrained one has that part already",
                "continue with train encode or train dit",
            )


# In the order in which they run.
STAGES = {
    spec.name: spec
    for spec in (
        StageSpec("tokenizer", configs.TokenizerConfig, produces=("tokenizer.model",), from_scratch=True),
        StageSpec("autoencoder", configs.AutoencoderConfig),
        StageSpec("encode", None, reads=("autoencoder",), produces=("latents", "latents.npz")),
        StageSpec("text", configs.TextTrainingConfig, reads=("tokenizer", "encode"), from_scratch=True),
        StageSpec("dit", configs.DiTTrainingConfig, reads=("tokenizer", "encode", "text"), exportable=True),
        StageSpec("distill", configs.DistillConfig, reads=("encode",), starts_from=("dit",), exportable=True),
        StageSpec("post", configs.PostConfig, reads=("encode",), starts_from=("distill", "dit"), exportable=True),
        StageSpec("instruct", configs.InstructTrainingConfig, family="musicgen"),
    )
}
EXPORTABLE = tuple(spec.name for spec in STAGES.values() if spec.exportable)
