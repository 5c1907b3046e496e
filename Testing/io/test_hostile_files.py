"""Files that mean harm, or whose damage once did: each was found by Testing/tools/experiments/fuzz.py."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from adaptsam.errors import InputError
from adaptsam.image import Geometry, Volume
from adaptsam.io import read_frames, read_picture, read_volume, write_video, write_volume
from adaptsam.io.mask_images import read_mask_picture

HEADER = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little\n"
GRID = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
PIXELS = np.arange(24, dtype=np.int16).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for hostile files, beside which lies something that they must not read."""
    (tmp_path / "secret.raw").write_bytes(PIXELS)
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


@pytest.mark.parametrize(
    "name", ["../secret.raw", "{parent}/secret.raw", "LIST 2\n../secret.raw", "../secre%d.raw 0 1 1"]
)
def test_an_nrrd_header_may_not_name_data_of_another_folder(folder: Path, name: str) -> None:
    path = folder / "image.nhdr"
    path.write_text(HEADER + GRID + f"data file: {name.format(parent=folder.parent)}\n")
    with pytest.raises(InputError, match=r"image\.nhdr wants data of another folder; put its data file beside it\."):
        read_volume(path)


def test_an_nrrd_header_may_name_data_beside_it_in_every_way(folder: Path) -> None:
    halves = [PIXELS[:24], PIXELS[24:]]
    for number, half in enumerate(halves):
        (folder / f"slice{number}.raw").write_bytes(half)
    (folder / "all.raw").write_bytes(PIXELS)
    for name in ("all.raw", "./all.raw", "LIST 2\nslice0.raw\nslice1.raw", "slice%d.raw 0 1 1 2"):
        (folder / "image.nhdr").write_text(HEADER + GRID + f"data file: {name}\n")
        assert np.array_equal(read_volume(folder / "image.nhdr").array.ravel(), np.arange(24)), name


@pytest.mark.parametrize("name", ["../secret.raw", "{parent}/secret.raw", "LIST\n../secret.raw\n../secret.raw"])
def test_a_metaimage_header_may_not_name_data_of_another_folder(folder: Path, name: str) -> None:
    fields = "NDims = 3\nBinaryData = True\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = "
    (folder / "image.mhd").write_text(fields + name.format(parent=folder.parent) + "\n")
    with pytest.raises(InputError, match="wants data of another folder"):
        read_volume(folder / "image.mhd")


def test_a_field_that_ends_teems_process_is_refused(folder: Path) -> None:
    (folder / "image.nrrd").write_bytes(HEADER.replace("short", "9" * 4000).encode() + GRID.encode() + b"\n" + PIXELS)
    with pytest.raises(InputError, match="damaged"):
        read_volume(folder / "image.nrrd")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_no_memory_is_taken_for_voxels_that_the_file_cannot_hold(folder: Path, suffix: str) -> None:
    path = folder / f"image{suffix}"
    small = Volume(
        np.arange(24, dtype=np.int16).reshape(2, 3, 4), Geometry((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    )
    write_volume(path, small)
    content = path.read_bytes() if suffix != ".nii.gz" else zlib.decompress(path.read_bytes(), 31)
    content = content.replace(b"sizes: 4 3 2", b"sizes: 4000 3000 2000").replace(
        b"Size = 4 3 2", b"Size = 4000 3000 2000"
    )
    if suffix.startswith(".nii"):
        content = content[:42] + np.array([4000, 3000, 2000], "<i2").tobytes() + content[48:]
    if suffix == ".nii.gz":
        packer = zlib.compressobj(wbits=31)
        content = packer.compress(content) + packer.flush()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"claims 48\.0 GB of voxels and holds"):
        read_volume(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, 0.0])
def test_axes_for_which_the_nifti_library_would_search_without_end_are_refused(folder: Path, value: float) -> None:
    path = folder / "image.nii"
    small = Volume(np.arange(24).reshape(2, 3, 4), Geometry((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    write_volume(path, small)
    content = bytearray(path.read_bytes())
    content[280:284] = np.array(value, "<f4").tobytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"image\.nii is damaged"):
        read_volume(path)


def test_what_itk_prints_of_a_damaged_file_is_not_shown(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "image.mha").write_bytes(
        b"NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n" + PIXELS[:9]
    )
    with pytest.raises(InputError):
        read_volume(folder / "image.mha")
    assert capfd.readouterr().err == ""
    os.write(2, b"and stderr works again")
    assert capfd.readouterr().err == "and stderr works again"


def test_a_pipe_or_a_device_in_a_dicom_folder_is_not_waited_for(make_series: Callable[..., Path]) -> None:
    series = make_series()
    os.mkfifo(series / "pipe.dcm")
    (series / "zero.dcm").symlink_to("/dev/zero")
    assert read_volume(series).array.shape == (6, 12, 14)


def test_a_deflated_file_that_unpacks_to_gigabytes_is_refused(make_series: Callable[..., Path]) -> None:
    path = sorted(make_series().iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    assert pydicom.dcmread(path).Rows == 12
    whole = path.read_bytes()
    start = 132 + 12 + int(pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength)
    packer = zlib.compressobj(1, wbits=-15)
    piece = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(whole[:start] + piece * 64)
    with pytest.raises(InputError, match="is damaged: it unpacks to more than"):
        read_volume(path)


def test_compressed_pixels_of_an_enormous_claimed_size_are_refused(make_series: Callable[..., Path]) -> None:
    series = make_series()
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 65535
        dataset.file_meta.TransferSyntaxUID = RLELossless
        dataset.PixelData = pydicom.encaps.encapsulate([b"\x02\0\0\0" + bytes(100)])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)
    with pytest.raises(InputError, match="is damaged: it claims 8590 MB of pixels"):
        read_volume(series)


@pytest.mark.parametrize("slope", ["nan", "1e300", "x", "../secret.raw"])
def test_a_rescaling_that_is_no_number_is_told(make_series: Callable[..., Path], slope: str) -> None:
    series = make_series()
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset["RescaleSlope"] = pydicom.DataElement("RescaleSlope", "LT", slope)
        dataset.save_as(path)
    with pytest.raises(InputError, match="a rescaling that is no number or too large"):
        read_volume(series)


def test_postscript_that_is_called_a_picture_starts_no_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*words: object, **_: object) -> None:
        raise AssertionError(words)

    monkeypatch.setattr("subprocess.Popen", started)
    (folder / "frame.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_picture(folder / "frame.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_pictures_of_every_kind_are_read(folder: Path, suffix: str) -> None:
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(folder / f"mask.{suffix}")
    assert read_mask_picture(folder / f"mask.{suffix}")["structure"].all()


def test_a_picture_of_too_many_pixels_is_not_unpacked(folder: Path) -> None:
    Image.new("1", (9000, 9000)).save(folder / "frame.png")
    with pytest.raises(InputError, match="has 9000×9000 pixels"):
        read_picture(folder / "frame.png")


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile good.mp4\n", "#EXTM3U\n#EXTINF:1,\ngood.mp4\n"])
def test_a_playlist_that_is_called_a_video_reads_no_other_file(folder: Path, text: str) -> None:
    write_video(folder / "good.mp4", [np.zeros((16, 16, 3), np.uint8)] * 3)
    assert len(read_frames(folder / "good.mp4")) == 3
    (folder / "list.mp4").write_text(text)
    with pytest.raises(InputError, match="is not a video that can be read"):
        read_frames(folder / "list.mp4")
