"""What agents find, what bounds them and what they did, to the voxel: whatever the grid and its transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blob_agent import make_agent
from slicer_bench.test_segments import addTransform, randomMatrix, rigid

from adaptsam.alignsam import Package, save_agent
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.volume_autoprompting import autoprompt
from adaptsam.image.volume import Geometry, Volume
from adaptsam.sam import SamModel, load_sam

SHAPE = (6, 9, 11)
QUICK = {"acceptance": "off", "cleanup": False}


@pytest.fixture(scope="module")
def model() -> SamModel:
    return load_sam(device="cpu")


@pytest.fixture(scope="module")
def agent(model: SamModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Package, Path]:
    package = make_agent(model)
    path = tmp_path_factory.mktemp("agents") / "blob.agent.safetensors"
    save_agent(path, package)
    return package, path


def blob(rng: np.random.Generator) -> np.ndarray:
    index = np.stack(np.indices(SHAPE), axis=-1)
    centre, size = rng.uniform(0.3, 0.7, 3) * SHAPE, rng.uniform(0.2, 0.4, 3) * SHAPE
    near = (((index - centre) / size) ** 2).sum(axis=-1) <= 1
    return (np.where(near, 250, -900) + rng.normal(0, 10, SHAPE)).astype(np.int16)


def places(volume: Any) -> np.ndarray:
    """RAS of the world of every voxel (K, J, I, 3), as MRML itself says."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    found, world = np.zeros((*SHAPE, 3)), [0.0, 0.0, 0.0]
    for k, j, i in np.ndindex(SHAPE):
        local = matrix.MultiplyPoint([i, j, k, 1.0])
        volume.TransformPointToWorld(list(local[:3]), world)
        found[k, j, i] = world
    return found


def grid(volume: Any, at: np.ndarray) -> Geometry:
    """The grid that the module tells the worker, whose voxels lie where MRML says.

    Its very numbers: one that differs in the last digit can turn a pixel, and an agent of random weights elsewhere.
    """
    from AdaptSAMLib import geometry

    told = geometry.grid(volume)
    made = Geometry(tuple(told["shape"]), tuple(told["spacing"]), tuple(told["origin"]), tuple(told["direction"]))
    k, j, i = np.indices(SHAPE)
    assert np.allclose(made.world(np.stack([i, j, k], axis=-1)) * [-1, -1, 1], at, atol=1e-6)
    return made


@pytest.mark.slow  # 100 runs of the worker
def test_masks_regions_and_prompts_of_fifty_grids(
    scene: Any, engine: Any, model: SamModel, agent: tuple[Package, Path]
) -> None:
    import slicer
    from slicer_bench import bench

    from AutoPromptSAM import AutoPromptSAMLogic

    package, path = agent
    found, bounded = 0, 0
    for seed in range(50):
        bench.clear()
        logic, rng = AutoPromptSAMLogic(), np.random.default_rng(seed)
        volume = slicer.util.addVolumeFromArray(blob(rng), ijkToRAS=randomMatrix(rng), name="v")
        if seed % 2:
            volume.SetAndObserveTransformNodeID(addTransform(rigid(rng)).GetID())
        at = places(volume)
        direct = Volume(slicer.util.arrayFromVolume(volume), grid(volume, at), "CT")
        settings = AutoPromptSettings(acceptance="off", cleanup=False)
        expected = autoprompt([package], direct, model=model, settings=settings).structures.structures[0].mask

        options = {"settings": QUICK, "allowOtherModality": True}
        run = logic.segment(volume, [str(path)], **options)
        node = run.outcomes[0].segmentationNode
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "blob", volume) > 0 if expected.any() else expected
        assert np.array_equal(mask, expected), seed
        found += bool(expected.any())

        replay = logic.replay(run, run.outcomes[0], "blob")
        replay.show(replay.best())
        played = replay.played
        for number, point in enumerate(played["points"]):
            i, j, k = np.insert(np.asarray(point, float), 2 - played["axis"], replay.index)
            corner, world = at[0, 0, 0], [0.0, 0.0, 0.0]
            steps = at[0, 0, 1] - corner, at[0, 1, 0] - corner, at[1, 0, 0] - corner
            replay.markups.GetNthControlPointPositionWorld(number, world)
            assert np.allclose(world, corner + i * steps[0] + j * steps[1] + k * steps[2], atol=1e-6), seed

        roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
        roi.SetCenter(*at[tuple(rng.integers(1, np.array(SHAPE) - 1))])
        roi.SetSize(*rng.uniform(8, 30, 3))
        turn = rotation(roi, rng) if seed % 3 == 0 else np.eye(4)
        roi.SetAndObserveTransformNodeID(addTransform(turn).GetID())
        back = np.linalg.inv(turn)
        own = at @ back[:3, :3].T + back[:3, 3]  # where the box is upright
        inside = (np.abs(own - roi.GetCenter()) <= np.array(roi.GetSize()) / 2).all(axis=-1)
        run = logic.segment(volume, [str(path)], roi=roi, **options)
        node = run.outcomes[0].segmentationNode
        wanted = expected & inside
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "blob", volume) > 0 if wanted.any() else wanted
        assert np.array_equal(mask, wanted), seed
        bounded += bool(wanted.any() and not np.array_equal(wanted, expected))
    assert found >= 25
    assert bounded >= 15


def rotation(roi: Any, rng: np.random.Generator) -> np.ndarray:
    """A turn about the box's own centre."""
    center = [0.0, 0.0, 0.0]
    roi.GetCenter(center)
    matrix = np.eye(4)
    matrix[:3, :3], _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix[:3, 3] = np.asarray(center) - matrix[:3, :3] @ center
    return matrix
