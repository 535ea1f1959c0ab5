"""An endless synthetic dataset of labeled, captioned clips: deterministic, rendered with NumPy alone."""

from soundloom.datasets.synthetic.captions import random_caption
from soundloom.datasets.synthetic.dataset import SyntheticClip, SyntheticDataset
from soundloom.datasets.synthetic.families import FAMILIES, render, sample_labels
from soundloom.datasets.synthetic.held_out import HeldOutPrompt, family_prompts, held_out_prompts, is_held_out
from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE

__all__ = [
    "FAMILIES",
    "SAMPLE_RATE",
    "HeldOutPrompt",
    "Labels",
    "SyntheticClip",
    "SyntheticDataset",
    "family_prompts",
    "held_out_prompts",
    "is_held_out",
    "random_caption",
    "render",
    "sample_labels",
]
