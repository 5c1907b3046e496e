"""PersonalizedSAM's public function with what people have, and what it says of what the readers left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sam import tiny_model

from adaptsam.autoprompting.agent_batches import given_agents
from adaptsam.commands.result_files import write_results
from adaptsam.errors import InputError
from adaptsam.image import Geometry, Remark, Structure, StructureSet, Volume
from adaptsam.io import write_structures, write_volume
from adaptsam.io.inputs import as_structures
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.volume_propagation import PropagationSettings, Propagator, propagate
from adaptsam.report.volume_report import Visit
from adaptsam.sam import EmbeddingStore, SamModel
from adaptsam.worker.result_messages import result_of

GRID = Geometry((8, 48, 48), (4.0, 4.0, 6.0), (0.0, 0.0, 0.0))
EVERYTHING = PropagationSettings(acceptance="off", view="body", register="off", fusion="off")
MASK = np.zeros(GRID.shape, bool)
MASK[2:6, 14:34, 14:34] = True


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model()


def scene(seed: int = 0) -> Volume:
    array = np.full(GRID.shape, -1000.0)
    array[:, 6:42, 6:42] = 20
    array[MASK] = 250
    return Volume((array + np.random.default_rng(seed).normal(0, 10, GRID.shape)).astype(np.int16), GRID, "CT")


def test_a_mask_a_dictionary_and_paths_give_the_same_as_a_structure_set(model: SamModel, tmp_path: Path) -> None:
    prior, target = scene(), scene(1)
    whole = StructureSet((Structure("GTV", MASK),), GRID)
    [expected] = propagate(prior, whole, [target], model=model, settings=EVERYTHING)
    for name, volume in (("prior.nrrd", prior), ("target.nrrd", target)):
        write_volume(tmp_path / name, volume)
    write_structures(tmp_path / "a.seg.nrrd", whole, prior)
    asked = {"model": model, "settings": EVERYTHING}
    for result in (
        *propagate(prior, MASK, target, names="GTV", **asked),
        *propagate(prior, {"GTV": MASK.astype(float), "other": ~MASK}, target, names="GTV", **asked),
        *propagate(prior, {"GTV": MASK}, (target,), **asked),
        *propagate(tmp_path / "prior.nrrd", str(tmp_path / "a.seg.nrrd"), tmp_path / "target.nrrd", **asked),
    ):
        assert result.structures.names == ("GTV",)
        assert np.array_equal(result.structures.structures[0].mask, expected.structures.structures[0].mask)
        assert not result.remarks


def test_what_readers_left_out_reaches_result_summary_report_and_message(model: SamModel, tmp_path: Path) -> None:
    ring = Remark("OPEN_PLANAR contours of 'Ring'", 8, "an open contour encloses nothing")
    scout = Remark("slices of the series", 1, "they are localizers")
    prior, target = scene(), replace(scene(1), remarks=(scout,))
    contours = StructureSet((Structure("GTV", MASK), Structure("unused", ~MASK & MASK)), GRID, remarks=(ring,))
    [result] = propagate(prior, contours, [target], model=model, settings=EVERYTHING)
    assert {of: [one.what for one in about] for of, about in result.remarks.items()} == {
        "prior contours": ["OPEN_PLANAR contours of 'Ring'", "structures 'unused'"],
        "target image": ["slices of the series"],
    }
    said = "Left out: OPEN_PLANAR contours of 'Ring' (8), as an open contour encloses nothing."
    assert f"Prior contours: {said}" in result.warnings
    results = write_results(
        tmp_path,
        prior,
        contours,
        [Visit("Target 1", target, result)],
        formats=("nrrd",),
        model=model,
        settings=EVERYTHING,
    )
    [summary] = results.summary["targets"]  # type: ignore[misc]
    expected = {"of": "prior contours", "what": ring.what, "count": 8, "why": ring.why, "left_out": True}
    assert summary["remarks"][0] == expected
    assert "OPEN_PLANAR contours of &#39;Ring&#39; (8)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result_of(result)["remarks"][0] == expected
    assert f"Prior contours: {said}" in result_of(result)["warnings"]


def test_in_a_ct_of_unknown_units_nothing_can_be_called_gone(model: SamModel) -> None:
    prior, target = scene(), scene(1)
    bare = replace(target, array=(target.array + 1024).clip(0))
    propagator = Propagator(
        prior, as_structures({"GTV": MASK}, prior), store=EmbeddingStore(model), settings=EVERYTHING
    )
    assert propagator.carry(target)[1].target.comparable
    result, visit = propagator.carry(bare)
    assert not visit.target.comparable
    assert any("nothing in it is below 0" in text for text in result.warnings)


def test_what_nobody_can_use_gets_one_sentence(model: SamModel) -> None:
    volume = scene()
    for arguments, words in (
        ((volume, MASK, []), "no target image"),
        ((volume.array, MASK, volume), "The prior image is an array"),
        ((volume, MASK, volume.array), "The target image is an array"),
        ((volume, MASK[:3], volume), "has the shape"),
        ((volume, None, volume), "NoneType"),
    ):
        with pytest.raises(InputError, match=words):
            propagate(*arguments, model=model)
    with pytest.raises(InputError, match="chosen by their names"):
        propagate(volume, {"GTV": MASK}, volume, model=model, names=[3])  # type: ignore[list-item]


def test_a_model_and_frames_come_as_paths_too(model: SamModel, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 48, 48, 3), np.uint8)
    frames[:, 10:40, 10:40] = 200
    mask = np.zeros((48, 48), bool)
    mask[10:40, 10:40] = True
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "frames").mkdir()
    for n, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{n}.png")
    expected = [one.masks["structure"] for one in propagate_video(list(frames), 0, {"structure": mask}, model=model)]
    for given in (mask, str(tmp_path / "mask.png")):
        found = [one.masks["structure"] for one in propagate_video(tmp_path / "frames", 0, given, model=model)]
        assert np.array_equal(found, expected)
    with pytest.raises(InputError, match="type int"):
        propagate_video(list(frames), 0, 7, model=model)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="An agent is of type int"):
        given_agents(7)  # type: ignore[arg-type]
