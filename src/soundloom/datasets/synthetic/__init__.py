"""A deterministic sound world, rendered with NumPy only: endless labeled and captioned clips."""

from soundloom.datasets.synthetic.captions import describe
from soundloom.datasets.synthetic.families import FAMILIES, draw_labels, render
from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.prompts import HeldOutPrompt, family_prompts, held_out_prompts, is_held_out
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE
from soundloom.datasets.synthetic.world import SyntheticClip, World

__all__ = [
    "FAMILIES",
    "SAMPLE_RATE",
    "HeldOutPrompt",
    "Labels",
    "SyntheticClip",
    "World",
    "describe",
    "draw_labels",
    "family_prompts",
    "held_out_prompts",
    "is_held_out",
    "render",
]
