"""Training data of the bundled model in one folder: ``python -m adaptsam.pretrain.training_data --help``."""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptsam.pretrain.drawn_pairs import drawn_phantoms, drawn_scenes
from adaptsam.pretrain.image_pool import write_pool
from adaptsam.pretrain.pool_sources import all_sources

_SEED = 20_261_130


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the open data sets, laid out like ../shared/data")
    parser.add_argument("--output", type=Path, required=True, help="a folder; is made")
    parser.add_argument("--phantoms", type=int, default=1500, help="pairs of phantom slices")
    parser.add_argument("--scenes", type=int, default=700, help="pairs of random scenes")
    args = parser.parse_args()
    print(f"{write_pool(args.output / 'pool_open', all_sources(args.data))} images of open data", flush=True)
    drawn_phantoms(args.phantoms, _SEED).write(args.output, "phantom")
    drawn_scenes(args.scenes, _SEED).write(args.output, "scene")


if __name__ == "__main__":
    main()
