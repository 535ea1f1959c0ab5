"""Measure the classifier's accuracy on clean renderings: python benchmarks/classifier.py [CLIPS] [--reverb]."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from soundloom.config.toml import read_toml
from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE, render
from soundloom.datasets.synthetic.config import SoundsConfig
from soundloom.datasets.synthetic.families import sample_source
from soundloom.evaluation.synthetic.classifier import accepted_kinds, classify

SECONDS, SEED = 4.0, 2026
MINI = Path(__file__).parents[1] / "configs" / "mini" / "sounds.toml"


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdecimal()]
    clips, reverb = numbers[0] if numbers else 30, "--reverb" in sys.argv
    rng = np.random.Generator(np.random.Philox(key=SEED))
    shares = {}
    for family in FAMILIES:
        kinds: Counter[str] = Counter()
        correct = 0
        for _ in range(clips):
            labels = sample_source(family, rng, SECONDS)
            labels = labels if reverb else replace(labels, reverb="")
            kind = classify(render(labels, SECONDS, rng), SAMPLE_RATE)
            kinds[kind] += 1
            correct += kind in accepted_kinds(labels)
        shares[family] = correct / clips
        names = ", ".join(f"{name} {count}" for name, count in kinds.most_common())
        print(f"{family:20}{shares[family]:6.1%}  {names}")
    print(f"{'of mini':20}{np.mean([shares[family] for family in read_toml(SoundsConfig, MINI).families]):6.1%}")
    print(f"{'all':20}{np.mean(list(shares.values())):6.1%}")


if __name__ == "__main__":
    main()
