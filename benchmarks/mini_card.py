"""Plot the images of mini's model card: loss curves of a training, and spectrograms of real and generated audio.

    python benchmarks/mini_card.py WORK [--model mini] [--out docs/images]

WORK is the run directory of the training. Writes mini-STAGE.svg for each trained stage, and mini-spectrograms.png. It
shows the reference audio of each prompt, its reconstruction by the autoencoder, and the generated clip, side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from soundloom.bench.plot import line_plot
from soundloom.evaluation.synthetic.editing import reference_clip
from soundloom.evaluation.synthetic.evaluate import EvaluationConfig
from soundloom.pipeline.load import load_stable_audio
from soundloom.training.loop.logging import LOG_FILE, read_log
from soundloom.training.loop.tensorboard import spectrogram_image

SECONDS, SEED = 4.0, 3
GAP = 6  # pixels between pictures
POINTS = 12  # of a curve, at most
NOT_LOSSES = ("step", "gradient", "discriminator gradient", "margin")


def curves(folder: Path) -> str:
    """Return each loss of a stage over its steps, as medians, since single values may be outliers."""
    records = list(read_log(folder))
    parts = np.array_split(range(len(records)), min(POINTS, len(records)))
    groups = [[records[number] for number in part] for part in parts]
    names = [name for name in records[0] if name not in NOT_LOSSES and all(name in record for record in records)]
    points = {
        name: [(group[-1]["step"], median(record[name] for record in group)) for group in groups] for name in names
    }
    is_positive = all(loss > 0 for curve in points.values() for _, loss in curve)
    return line_plot(points, f"mini: {folder.name}", "step", "loss", logarithmic=is_positive)


def sheet(model_name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Return a row of three spectrograms per family of sounds, and the prompts."""
    model = load_stable_audio(model_name, precision="fp32", keep_loaded=True)
    scope = EvaluationConfig(seconds=SECONDS).for_model(model)
    rows, prompts = [], scope.sample_prompts(len(scope.families), SEED)
    for number, prompt in enumerate(prompts):
        real = reference_clip(prompt, SECONDS, number)
        through = model.decode(model.encode(real), samples=real.samples)
        made = model.generate(prompt.text, seconds=SECONDS, seed=1)
        images = [spectrogram_image(clip.audio, clip.sample_rate)[::2, ::4] for clip in (real, through, made)]
        width = min(image.shape[1] for image in images)
        white = np.full((len(images[0]), GAP), 255, np.uint8)
        rows.append(np.hstack([part for image in images for part in (image[:, :width], white)]))
        rows.append(np.full((GAP, rows[-1].shape[1]), 255, np.uint8))
    return np.vstack(rows), [prompt.text for prompt in prompts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for log_file in sorted(args.work.glob(f"*/{LOG_FILE}")):
        (args.out / f"mini-{log_file.parent.name}.svg").write_text(curves(log_file.parent))
    image, prompts = sheet(args.model)
    Image.fromarray(image).save(args.out / "mini-spectrograms.png")
    print("\n".join(prompts))


if __name__ == "__main__":
    main()
