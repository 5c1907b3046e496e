"""Sample data: registered under its names, made without a download, and ready to be carried."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.worker import sample_data as made
from adaptsam.worker.sample_data import sample


def test_the_samples_are_registered_with_pictures_and_no_address(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PersonalizedSAMLib import samples

    seen: list[dict[str, Any]] = []
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **options: seen.append(options))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    samples.register()
    assert [one["sampleName"] for one in seen] == list(samples.SAMPLES)
    assert all(Path(one["thumbnailFileName"]).is_file() and one["uris"] == [] for one in seen)
    assert {one for one, _title in samples.SAMPLES.values()} == set(made.SAMPLES)


def test_a_sample_that_cannot_be_made_is_shown(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer.util
    from AdaptSAMLib import packages
    from PersonalizedSAMLib import samples

    shown: list[str] = []
    monkeypatch.setattr(packages, "missing", lambda *_: ["torch>=2.8"])
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    with pytest.raises(Exception, match="install its Python packages first"):
        samples.download(types.SimpleNamespace(sampleName="PersonalizedSAMVisits"))
    assert "install its Python packages first" in shown[0]


def test_two_visits_share_a_patient_and_the_first_is_contoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_SHAPE", (12, 40, 40))
    monkeypatch.setattr(made, "_SPACING", (10.0, 10.0, 24.0))
    first, second = sample("visits")
    assert first.structures is not None
    assert second.structures is None
    assert first.structures.geometry.matches(first.volume.geometry)
    assert "GTV-1" in first.structures.names


def test_a_clip_has_an_outlined_first_frame() -> None:
    images = list(sample("endoscopy"))
    assert [one.label for one in images] == [str(number) for number in range(25)]
    assert images[0].volume.array.shape[3] == 3
    assert images[0].volume.array.dtype == np.uint8
    assert images[0].structures is not None
    assert all(one.structures is None for one in images[1:])


def test_an_unknown_sample_is_told() -> None:
    with pytest.raises(InputError, match="there are visits, phases, endoscopy"):
        sample("brain")


def test_a_clip_is_loaded_as_a_sequence_with_its_contour(
    scene: Any, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import packages, segments
    from PersonalizedSAMLib import samples

    monkeypatch.setattr(packages, "missing", lambda *_: [])
    volume, contours, sequence, browser = samples.load("PersonalizedSAMEndoscopy")
    assert sequence.GetNumberOfDataNodes() == browser.GetNumberOfItems() == 25
    assert browser.GetProxyNode(sequence) is volume
    assert segments.readMask(contours, "segment-1", volume).any()
    from AdaptSAMLib import images
    from PersonalizedSAMLib import inputs

    assert inputs.check(volume, contours, inputs.segmentIds(contours), [sequence]) is None
    assert images.itemOf(volume, sequence) == 0
