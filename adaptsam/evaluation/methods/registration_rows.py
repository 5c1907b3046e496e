"""Registration as rival: the prior's contours copied, or carried by image registration."""

from __future__ import annotations

from typing import Any

import numpy as np

from adaptsam.errors import InputError, NotInstalledError
from adaptsam.evaluation.methods.evaluated_method import Found, Method, VolumePair, Workbench, found_structures
from adaptsam.image import Volume
from adaptsam.image.signed_distance import signed_distance
from adaptsam.propagation.baselines import copy_contours, deform_mask, move_mask


class Copied(Method):
    """The prior's contours at their physical position."""

    name, title = "copied", "prior copied"

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        copied = copy_contours(pair.structures, pair.target)
        return found_structures(pair, {one.name: one.mask for one in copied.structures})


class RigidRegistration(Method):
    """SimpleITK: mutual information, rigid; what a propagation starts from."""

    name, title = "rigid", "rigid registration"

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        grids = (pair.prior.geometry, pair.target.geometry)
        masks = {one.name: move_mask(one.mask, *grids, pair.rigid.matrix) for one in pair.structures.structures}
        return found_structures(pair, masks)


class DeformableRegistration(Method):
    """SimpleITK: diffeomorphic Demons after the rigid registration."""

    name, title = "registration", "deformable registration"

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        grids = (pair.prior.geometry, pair.target.geometry)
        masks = {one.name: deform_mask(one.mask, *grids, pair.deformation) for one in pair.structures.structures}
        return found_structures(pair, masks)


class Elastix(Method):
    """Elastix' default B-spline parameters (mutual information) after its rigid ones, through itk-elastix."""

    name, title = "elastix", "elastix B-spline"

    def prepare(self, bench: Workbench) -> None:
        try:
            import itk  # noqa: F401
        except ImportError:
            raise NotInstalledError('Elastix needs the extra "elastix": pip install "adaptsam[elastix]".') from None

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        return found_structures(pair, register_with_elastix(pair))


def register_with_elastix(pair: VolumePair) -> dict[str, np.ndarray]:
    """The structures' masks on the target, bool (K, J, I), carried as signed distances.

    Raises:
        InputError: a picture is in colour, or elastix gives up.
    """
    import itk

    if pair.prior.array.ndim != 3:
        raise InputError("Elastix registers gray volumes only.")
    moving, fixed = (_image(volume.array.astype(np.float32), volume) for volume in (pair.prior, pair.target))
    parameters = itk.ParameterObject.New()
    for kind in ("rigid", "bspline"):
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(kind))
    try:
        _, transform = itk.elastix_registration_method(fixed, moving, parameter_object=parameters, number_of_threads=1)
        transform.SetParameter("FinalBSplineInterpolationOrder", "1")
        transform.SetParameter("DefaultPixelValue", "1000")
        masks = {}
        for structure in pair.structures.structures:
            distance = signed_distance(structure.mask, pair.prior.geometry.spacing[::-1]).astype(np.float32)
            moved = itk.transformix_filter(_image(distance, pair.prior), transform)
            masks[structure.name] = np.asarray(itk.array_from_image(moved)) < 0
    except RuntimeError as error:
        raise InputError(f"Elastix gave up on this pair ({str(error).strip().splitlines()[-1]}).") from None
    return masks


def _image(array: np.ndarray, volume: Volume) -> Any:
    import itk

    image = itk.image_from_array(np.ascontiguousarray(array))
    image.SetSpacing([float(value) for value in volume.geometry.spacing])
    image.SetOrigin([float(value) for value in volume.geometry.origin])
    image.SetDirection(itk.matrix_from_array(np.reshape(volume.geometry.direction, (3, 3)).astype(float)))
    return image
