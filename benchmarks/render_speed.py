"""Print how many seconds of the synthetic dataset one core renders per second.

OMP_NUM_THREADS=1 python benchmarks/render_speed.py --clips 500
"""

import argparse
import time

from soundloom.datasets.synthetic import SyntheticDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    dataset = SyntheticDataset(args.seed)
    dataset.sample(0)  # imports and first transforms are not what is measured
    began = time.perf_counter()
    seconds = sum(dataset.sample(index).labels.seconds for index in range(1, args.clips + 1))
    elapsed = time.perf_counter() - began
    speed = seconds / elapsed
    print(f"{args.clips} clips, {seconds:.0f} s of sound in {elapsed:.2f} s: {speed:.0f} times real time")


if __name__ == "__main__":
    main()
