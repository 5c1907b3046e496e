"""NIfTI, NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from adaptsam.errors import InputError, OutputError
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Geometry, Volume
from adaptsam.io.header_defaults import place_remarks
from adaptsam.io.itk_headers import check_header
from adaptsam.io.native_stderr import quiet_libraries
from adaptsam.io.nifti_grid import is_nifti_2, nifti_grid
from adaptsam.io.nifti_values import nifti_values
from adaptsam.io.nrrd_header import keep_grid, tidy_direction
from adaptsam.storage.output_staging import staged_file

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_READERS = {
    **dict.fromkeys((".nii", ".gz"), "NiftiImageIO"),
    **dict.fromkeys((".nrrd", ".nhdr"), "NrrdImageIO"),
    **dict.fromkeys((".mha", ".mhd"), "MetaImageIO"),
}


def read_itk_image(path: Path) -> Volume:
    """The image, with whatever values it holds.

    Raises:
        InputError: the file cannot be read, or is not one 3-D image.
    """
    image = load_itk_image(path)
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image = image[(*(slice(None) for _ in range(image.GetDimension() - 1)), 0)]
    if image.GetDimension() != 3:
        raise InputError(f"{path.name} is {image.GetDimension()}-dimensional; extract one 3-D image first.")
    array = sitk.GetArrayFromImage(image)
    if array.dtype.kind == "c":
        raise InputError(f"{path.name} holds complex numbers; save their magnitude as an image first.")
    if array.ndim == 4 and (array.shape[3] != 3 or array.dtype != np.uint8):
        raise InputError(f"{path.name} has {array.shape[3]} values a voxel; extract one of them first.")
    geometry = itk_geometry(image)
    remarks: tuple[Remark, ...] = ()
    if path.name.lower().endswith((".nii", ".nii.gz")):
        geometry, remarks = nifti_grid(path, geometry)
        array = nifti_values(path, array)
    else:
        remarks = place_remarks(path)
    if geometry.is_sheared:
        raise InputError(f"{path.name} has a sheared grid; resample it to an upright one first.")
    return Volume(array, geometry, remarks=remarks)


def load_itk_image(path: Path) -> sitk.Image:
    """The image as ITK has it, with the header's fields.

    Raises:
        InputError: the file cannot be read.
    """
    check_header(path)
    try:
        with quiet_libraries():
            return sitk.ReadImage(str(path), imageIO=_READERS[path.suffix.lower()])
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise InputError(f"{path.name} has a sheared grid; resample it to an upright one first.") from None
        if path.name.lower().endswith((".nii", ".nii.gz")) and is_nifti_2(path):
            raise InputError(
                f"{path.name} is of NIfTI's second version, which is not read; save it as NIfTI-1."
            ) from None
        raise InputError(f"{path.name} is damaged or not what its suffix says; copy or export it again.") from None


def image_size(path: Path) -> tuple[int, ...]:
    """Read the number of voxels along i, j, k, … from the header.

    Raises:
        InputError: the header is damaged.
    """
    check_header(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[path.suffix.lower()])
    reader.SetFileName(str(path))
    try:
        with quiet_libraries():
            reader.ReadImageInformation()
    except RuntimeError:
        raise InputError(f"{path.name} is damaged or not what its suffix says; copy or export it again.") from None
    return tuple(reader.GetSize())


def itk_geometry(image: sitk.Image) -> Geometry:
    """The grid of a 3-D image."""
    size, spacing, origin = image.GetSize(), image.GetSpacing(), image.GetOrigin()
    return Geometry(
        (size[2], size[1], size[0]),
        (spacing[0], spacing[1], spacing[2]),
        (origin[0], origin[1], origin[2]),
        tidy_direction(image.GetDirection()),
    )


def write_itk_image(path: Path, array: np.ndarray, geometry: Geometry, *, overwrite: bool = False) -> None:
    """Write (K, J, I) or (K, J, I, 3), compressed; bool becomes uint8.

    NRRD and MetaImage keep every bit of the grid; NIfTI stores it in single precision, about 1e-5 mm.
    """
    if array.shape[:3] != geometry.shape:
        raise InputError(f"The array {array.shape} does not fit its grid {geometry.shape}.")
    storable = {"?": np.uint8, "e": np.float32}.get(array.dtype.char, array.dtype)
    image = sitk.GetImageFromArray(array.astype(storable), isVector=array.ndim == 4)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    with staged_file(path, overwrite=overwrite) as staged:
        try:
            sitk.WriteImage(image, str(staged), useCompression=True)
        except RuntimeError:
            raise OutputError(f"{path.name} cannot be written; check the space left on the disk.") from None
        if path.name.lower().endswith((".nrrd", ".nhdr")):
            keep_grid(staged, geometry)
