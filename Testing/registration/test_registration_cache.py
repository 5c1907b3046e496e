"""Registrations that are kept between runs: the same again, another for anything else, nothing of the patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptsam.errors import Cancelled
from adaptsam.image.volume import DicomSource, Volume
from adaptsam.registration import registration_cache as kept_registration
from adaptsam.registration.deformable import DeformableSettings, Deformation
from adaptsam.registration.registration_cache import registered, registration_key
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise import VolumeSettings
from adaptsam.storage.disk_cache import KeptFolder

QUICK = VolumeSettings(deformable=DeformableSettings(pitch_mm=5.0, shrink=(2,), iterations=(8,)))


@pytest.fixture
def images(make_thorax: Callable) -> tuple[Volume, Volume]:
    return make_thorax().volume, make_thorax((10, 0, 0), seed=1).volume


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, nothing may be registered."""

    def forbid(*given: object, **named: object) -> Rigid:
        raise AssertionError("it was registered again")

    return lambda: monkeypatch.setattr(kept_registration, "register", forbid)


@pytest.mark.parametrize("kind", ["rigid", "deformable"])
def test_what_was_registered_once_comes_back_bit_for_bit_without_registering(
    kind: str, images: tuple[Volume, Volume], never: Callable, tmp_path: Path
) -> None:
    settings = replace(QUICK, register=kind)
    first = registered(*images, settings, KeptFolder(tmp_path))
    never()
    second = registered(*images, settings, KeptFolder(tmp_path))
    assert (type(first), first.quality, first.method, first.warning) == (
        type(second),
        second.quality,
        second.method,
        second.warning,
    )
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    assert np.array_equal(first.to_prior(points), second.to_prior(points))
    assert isinstance(second, Deformation) == (kind == "deformable")
    if isinstance(first, Deformation) and isinstance(second, Deformation):
        assert first.displacement.geometry == second.displacement.geometry


def test_that_images_could_not_be_registered_is_kept_with_its_warning(
    images: tuple[Volume, Volume], never: Callable, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(0, 300, images[0].array.shape).astype(np.float32)
    target = replace(images[0], array=noise)
    warning = registered(images[0], target, QUICK, KeptFolder(tmp_path)).warning
    never()
    assert registered(images[0], target, QUICK, KeptFolder(tmp_path)).warning == warning != ""


def test_any_other_pixel_grid_modality_or_setting_is_another_registration(images: tuple[Volume, Volume]) -> None:
    prior, target = images
    pixels = target.array.copy()
    pixels[-1, -1, -1] += 1
    moved = replace(target.geometry, origin=(0.0, 0.0, 1.0))
    others = [
        (prior, replace(target, array=pixels), QUICK),
        (prior, replace(target, geometry=moved), QUICK),
        (prior, replace(target, modality="CBCT"), QUICK),
        (target, prior, QUICK),
        (prior, target, replace(QUICK, register="rigid")),
        (prior, target, replace(QUICK, registration=replace(QUICK.registration, bins=24))),
        (prior, target, replace(QUICK, deformable=replace(QUICK.deformable, smoothing=2.0))),
    ]
    keys = {registration_key(*other) for other in [(prior, target, QUICK), *others]}
    assert len(keys) == 1 + len(others)
    # What neither registration looks at changes nothing: another structure, another margin.
    assert registration_key(prior, target, replace(QUICK, margin_mm=20.0)) == registration_key(prior, target, QUICK)


def test_a_registration_that_is_damaged_is_made_again(
    images: tuple[Volume, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered(*images, QUICK, KeptFolder(tmp_path))
    made: list[int] = []
    monkeypatch.setattr(kept_registration, "_computed", lambda *given: made.append(1) or first)
    [path] = tmp_path.iterdir()
    good = path.read_bytes()
    for content in (good[:-7], good[:9] + b"?" + good[10:], good[:-1] + bytes([good[-1] ^ 1]), b""):
        path.write_bytes(content)
        assert registered(*images, QUICK, KeptFolder(tmp_path)) is first
        assert path.read_bytes() == good
    assert len(made) == 4


def test_a_file_of_that_name_that_holds_something_else_is_not_believed(
    images: tuple[Volume, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rigid = replace(QUICK, register="rigid")
    folder, key = KeptFolder(tmp_path), registration_key(*images, rigid)
    first = registered(*images, rigid, folder)
    monkeypatch.setattr(kept_registration, "_computed", lambda *given: first)
    good = folder.read(key) or {}
    for wrong in (
        {"features": np.zeros(3, np.float32)},
        {**good, "matrix": np.eye(3)},
        {**good, "matrix": np.full((4, 4), np.nan)},
        {**good, "rigid told": np.frombuffer(b'[1, "guessed", ""]', np.uint8)},
        {**good, "rigid told": np.frombuffer(b"[[", np.uint8)},
        {**good, "displacement": np.zeros((2, 2, 2, 2), np.float32), "grid": np.ones(15)},
    ):
        folder.write(key, wrong)
        assert registered(*images, rigid, folder) is first


def test_nothing_of_the_patient_is_kept(images: tuple[Volume, Volume], tmp_path: Path) -> None:
    source = DicomSource("SECRET-ID", study_date="19991231", header={"PatientName": "SECRET^NAME"})
    prior, target = (replace(image, dicom=source) for image in images)
    registered(prior, target, QUICK, KeptFolder(tmp_path))
    [path] = tmp_path.iterdir()
    assert not any(word in path.read_bytes() for word in (b"SECRET", b"NAME", b"19991231"))
    assert registration_key(prior, target, QUICK) == registration_key(*images, QUICK) == path.stem


def test_it_can_be_stopped_while_images_are_hashed(
    images: tuple[Volume, Volume], tmp_path: Path, never: Callable
) -> None:
    never()
    told: list[None] = []

    def tick() -> None:
        told.append(None)
        if len(told) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        registered(*images, QUICK, KeptFolder(tmp_path), tick)
    assert len(told) == 3
