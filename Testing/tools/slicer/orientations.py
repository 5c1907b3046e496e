"""Runs on volumes of random orientations, spacings, flips and parent transforms: does the result lie where it should?

    python Testing/tools/slicer/orientations.py --times 50              (a tiny SAM of random weights: masks are nonsense)
    python Testing/tools/slicer/orientations.py --times 5 --bundled

Prior and target have their axes in different orders, and each may lie under a transform of its own. Each time, the module's
logic carries a structure between two volumes of the scene, and `adaptsam.propagate` does the same with the volumes that
a reader of files would have given: the voxels, and where they lie in the world. The segment in the scene, read back by
Slicer's own export, must be the same voxels, and the voxels lie where Slicer puts them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]

from slicer_bench import bench
from slicer_bench.conftest import QUICK
from slicer_bench.test_segments import addTransform, randomMatrix, rigid

#: One part: where a result lies has nothing to do with how many there are, and k-means takes most of the time.
SETTINGS = {**QUICK, "p2sam.positives": [1, 1], "p2sam.negatives": [1, 1]}
SHAPE = (6, 16, 18)


def picture(rng: np.random.Generator, at: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A disc on a dark ground with a brighter body, in voxels, and its mask."""
    k, j, i = np.indices(SHAPE)
    mask = (i - at[0]) ** 2 + (j - at[1]) ** 2 + (1.5 * (k - 2)) ** 2 <= 4**2
    body = (i - 9) ** 2 / 8**2 + (j - 8) ** 2 / 7**2 <= 1
    image = np.where(mask, 200, np.where(body, 30, -1000)) + rng.normal(0, 8, SHAPE)
    return image.astype(np.int16), mask


def reordered(array: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The same image with its axes in another order and turned round, and the 4×4 from its voxels (i, j, k, 1) to the old."""
    order, flips = rng.permutation(3), rng.random(3) < 0.5
    turn = np.eye(4)
    turn[:3, :3] = 0
    for new, old in enumerate(order):
        length = array.shape[old]
        turn[2 - old, 2 - new] = -1 if flips[new] else 1
        turn[2 - old, 3] = length - 1 if flips[new] else 0
    made = array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return np.ascontiguousarray(made), turn


def addVolume(array: np.ndarray, world: np.ndarray, name: str, rng: np.random.Generator) -> Any:
    """A volume whose voxels lie in the world as ``world`` says, in every other case under a transform of its own."""
    import slicer

    if rng.random() < 0.5:
        return slicer.util.addVolumeFromArray(array, ijkToRAS=world, name=name)
    parent = rigid(rng)
    node = slicer.util.addVolumeFromArray(array, ijkToRAS=np.linalg.inv(parent) @ world, name=name)
    node.SetAndObserveTransformNodeID(addTransform(parent).GetID())
    return node


def asRead(array: np.ndarray, node: Any) -> Any:
    """The volume as `adaptsam` would have it from a file, after a look at where Slicer itself puts four of its voxels.

    With the module's own digits: one in the fifteenth place can turn a tie between two points.
    """
    import slicer
    import vtk
    from AdaptSAMLib import geometry

    from adaptsam.image.volume import Geometry, Volume

    described = geometry.grid(node)
    shape, spacing, origin = (tuple(described[one]) for one in ("shape", "spacing", "origin"))
    grid = Geometry(shape, spacing, origin, tuple(described["direction"]))
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    for voxel in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9)):
        world = [0.0, 0.0, 0.0]
        node.TransformPointToWorld(list((slicer.util.arrayFromVTKMatrix(matrix) @ [*voxel, 1.0])[:3]), world)
        assert np.allclose(np.array(world) * [-1, -1, 1], grid.world(np.array(voxel)), atol=1e-6)
    return Volume(array, grid, "CT")


def once(logic: Any, checkpoint: str | None, model: Any, seed: int) -> tuple[int, int]:
    """Voxels of the result, and how many of them differ between scene and package."""
    import slicer
    from AdaptSAMLib import segments

    from adaptsam.image.volume import Structure, StructureSet
    from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
    from adaptsam.worker.recent_runs import asked_settings

    rng = np.random.default_rng(seed)
    (first, mask), (second, _) = picture(rng, (8, 8)), picture(rng, (9, 7))
    matrix, moved = randomMatrix(rng), np.eye(4)
    moved[:3, 3] = rng.uniform(-2, 2, 3)
    second, turn = reordered(second, rng)
    prior = addVolume(first, matrix, "prior", rng)
    target = addVolume(second, moved @ matrix @ turn, "target", rng)
    contours = segments.newSegmentation(prior, "contours")
    prototype = slicer.vtkSegment()
    prototype.SetName("disc")
    segments.setSegment(contours, "d", prototype, *segments.cropped(mask), prior)
    [outcome] = logic.propagate(prior, contours, [target], settings=SETTINGS, checkpoint=checkpoint).outcomes
    found = slicer.util.arrayFromSegmentBinaryLabelmap(outcome.segmentationNode, "d", target) > 0
    known = asRead(first, prior)
    structures = StructureSet((Structure("disc", mask),), known.geometry)
    settings = asked_settings({"settings": SETTINGS}, PropagationSettings())
    [made] = propagate(known, structures, [asRead(second, target)], model=model, settings=settings)
    expected = made.structures.structures[0].mask
    slicer.mrmlScene.Clear()
    return int(expected.sum()), int((found != expected).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--bundled", action="store_true", help="with the bundled model, which takes a minute each")
    args = parser.parse_args()
    cache = tempfile.TemporaryDirectory()
    os.environ["ADAPTSAM_CACHE"] = cache.name  # nothing was encoded before
    bench.start()
    from AdaptSAMLib.engine import Engine
    from tiny_sam import TINY, tiny_model

    from adaptsam.sam import load_sam, save_checkpoint
    from PersonalizedSAM import PersonalizedSAMLogic

    checkpoint = None if args.bundled else str(Path(cache.name) / "tiny.safetensors")
    if checkpoint is not None:
        save_checkpoint(checkpoint, tiny_model(seed=3, spread=2.0).sam, TINY)
    logic, model = PersonalizedSAMLogic(), load_sam(checkpoint, "cpu")
    told = []
    for seed in range(args.times):
        told.append(once(logic, checkpoint, model, seed))
        print(f"seed {seed}: {told[-1][1]} of {told[-1][0]} voxels differ", flush=True)
    figures = np.array(told)
    exact = int((figures[:, 1] == 0).sum())
    print(
        f"{exact} of {len(figures)} to the voxel; {np.median(figures[:, 0]):.0f} voxels (median), "
        f"{(figures[:, 0] > 0).sum()} results not empty; {figures[:, 1].max()} voxels differ at most"
    )
    Engine.shared().close()


if __name__ == "__main__":
    main()
