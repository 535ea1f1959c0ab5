"""`soundloom lora encode`: encode a training set to latents."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.loading import known_model, open_model
from soundloom.cli.lora_data import report_warnings, require_outside
from soundloom.cli.options.flags import flag
from soundloom.cli.options.lora_training import SetOptions
from soundloom.cli.options.model import ModelOptions
from soundloom.cli.options.output import QuietOptions
from soundloom.cli.options.shared import out_flag
from soundloom.cli.terminal.logs import info_to_stderr
from soundloom.cli.terminal.results import print_results
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError
from soundloom.folders import expanded


@dataclass(frozen=True)
class Options(SetOptions, ModelOptions, QuietOptions):
    """Encode a folder of sounds with captions to latents, which `soundloom lora train` takes as DATA.

    Run it again to encode new and changed sounds alone. Other trainers read the folder too.
    """

    data: str = flag(metavar="AUDIO", help="a folder of sounds with captions")
    out: str = out_flag(
        required=True,
        hidden=("--output-path", "--output-dir"),
        metavar="FOLDER",
        help="of .npy files, one for each sound",
    )


def run(options: Options) -> int:
    name, config = known_model(options.model_name)
    if not isinstance(config, ModelConfig):
        raise RequestError(f"{name} is not a Stable Audio model that generates", "name one that does")
    from soundloom.training.lora.config import DataConfig
    from soundloom.training.lora.setup import Encoder, check, encode_sounds

    out = expanded(options.out)
    require_outside(out, options.data)
    with info_to_stderr(quiet=options.quiet):
        dataset, report = check(options.data, config, 1, options.skip_faulty)
        report_warnings(report)
        report.require_usable()
        if all(clip.frames for clip in report.usable):
            raise RequestError(f"{options.data} holds latents already", "give them to soundloom lora train")
        encoder = Encoder(lambda: open_model(options, precision="fp32", keep_loaded=True))
        encode_sounds(dataset, report, out, encoder, DataConfig(loudness=options.loudness), name)
    print_results([f"{out}: {len(report.usable)} clips, {report.seconds / 60:.1f} min"])
    return 0
