"""How unlike an agent's training images other bodies look to SAM, and how many of their slices it rejects for that.

    python Testing/tools/experiments/alignsam_novelty.py --data ../shared/data --phantoms 30
    python Testing/tools/experiments/alignsam_novelty.py --data ../shared/data --agent lungs.agent.safetensors

With --phantoms an agent is imagined that learnt from so many synthetic chests, with 10 more held back; novelty does not
depend on what it learnt from them. Slices are evenly spread, of each scan with the lungs and without them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from alignsam_learning import FIRST_UNSEEN, SCANS, images
from real_agents import LUNGS, elsewhere_volumes
from real_cases import opened, spread

from adaptsam.alignsam import Novelty, Shown, load_agent
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.agent_training import novelty_of
from adaptsam.io import read_volume
from adaptsam.sam import EmbeddingStore, load_sam

HELD_BACK = 10


def scans(data: Path, shown: Shown, size: int, count: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Slices of chests with lungs and without, of an abdomen, and of bodies that show no chest."""
    for scan in LUNGS:
        with opened(data, scan) as (volume, truth):
            slices = AgentSlices(volume, shown, size)
            there = slices.images.orientation.apply(truth).any(axis=(1, 2))
            for name, flag in (("with lung", there), ("without", ~there)):
                rows = spread(np.flatnonzero(flag), count)
                yield f"{scan.name}, slices {name}", [slices.image(int(k)) for k in rows]
    abdomen = read_volume(data / "abdct-totalseg" / "images" / "image.nii.gz")
    others: dict[str, list[np.ndarray]] = {}
    for name, volume in [("abdct-totalseg", abdomen), *elsewhere_volumes(data, count)]:
        slices = AgentSlices(volume, shown, size)
        rows = spread(range(slices.images.geometry.shape[0]), count)
        others.setdefault(name, []).extend(slices.image(k) for k in rows)
    yield from others.items()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of real cases")
    parser.add_argument("--agent", type=Path, help="an agent's file")
    parser.add_argument("--phantoms", type=int, default=30, help="without an agent")
    parser.add_argument("--slices", type=int, default=8, help="of each kind of each scan")
    parser.add_argument("--cache", type=Path, help="folder of embeddings")
    args = parser.parse_args()
    store = EmbeddingStore(load_sam(None, "cpu"), memory_bytes=2**30, folder=args.cache)
    size = store.model.image_size
    shown, kind = known(args, store)
    print(f"limit {kind.limit:.2f}")
    for name, pictures in scans(args.data, shown, size, args.slices):
        told = [kind.of_image(one, size) for one in store.get(pictures)]
        rejected = sum(not kind.knows(one) for one in told)
        print(f"{name}: {min(told):.2f} to {max(told):.2f}, rejected {rejected} of {len(told)}", flush=True)


def known(args: argparse.Namespace, store: EmbeddingStore) -> tuple[Shown, Novelty]:
    """How the images are shown, and the kind that is known."""
    if args.agent is not None:
        package = load_agent(args.agent, store.model)
        kind = package.novelty
        if kind is None:
            raise SystemExit(f"{args.agent} learnt from too few images to know their kind.")
        return package.shown, kind
    learnt, held = images("heart", 0, args.phantoms, True), images("heart", FIRST_UNSEEN, HELD_BACK, True)
    kind = novelty_of(store, learnt, held)
    assert kind is not None
    return SCANS, kind


if __name__ == "__main__":
    main()
