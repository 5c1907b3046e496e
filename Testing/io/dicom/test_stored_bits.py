"""Stored values that do not fill their words from the lowest bit on, beside SimpleITK's (GDCM's) reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset

from adaptsam.io import read_volume

VALUES = np.arange(6 * 12 * 14).reshape(6, 12, 14) % 4096


def bits(used: int, high: int, signed: bool) -> Callable[[FileDataset, int], None]:
    def edit(dataset: FileDataset, k: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = used, high, int(signed)

    return edit


def gdcm(folder: Path) -> np.ndarray:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_those_of_the_values_are_taken_off(make_series: Callable[..., Path], signed: bool) -> None:
    stored = VALUES | (0xA000 * (VALUES % 3 == 0))
    folder = make_series(stored=stored, edit=bits(12, 11, signed))
    volume = read_volume(folder)
    expected = np.where(VALUES >= 2048, VALUES - 4096, VALUES) if signed else VALUES
    assert (volume.array == expected - 1024).all()
    assert (volume.array == gdcm(folder)).all()


@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_upper_bits_are_shifted_down(make_series: Callable[..., Path], signed: bool) -> None:
    folder = make_series(stored=(VALUES << 4) | 5, edit=bits(12, 15, signed))
    expected = np.where(VALUES >= 2048, VALUES - 4096, VALUES) if signed else VALUES
    assert (read_volume(folder).array == expected - 1024).all()
