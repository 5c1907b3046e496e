"""A synthetic thorax CT with exact contours: anatomy is drawn, rendered, and scanned at several visits."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.synthetic.thorax_phantom.breathing import Breathing, Motion
    from adaptsam.synthetic.thorax_phantom.ct_scanner import CONE_BEAM, CONE_BEAM_4D, KERNELS, SCANNERS, Scanner
    from adaptsam.synthetic.thorax_phantom.disease_courses import CONTRASTS, COURSES, Contrast, Course
    from adaptsam.synthetic.thorax_phantom.phantom_dicom import LAYOUTS, truth, write_visit
    from adaptsam.synthetic.thorax_phantom.phantom_settings import CONTOURABLE, CONTOURED, PhantomSettings
    from adaptsam.synthetic.thorax_phantom.projections import Beam
    from adaptsam.synthetic.thorax_phantom.synthetic_patient import (
        PhantomPhase,
        PhantomVisit,
        phantom_patient,
        phantom_visits,
    )

__all__ = [
    "CONE_BEAM",
    "CONE_BEAM_4D",
    "CONTOURABLE",
    "CONTOURED",
    "CONTRASTS",
    "COURSES",
    "KERNELS",
    "LAYOUTS",
    "SCANNERS",
    "Beam",
    "Breathing",
    "Contrast",
    "Course",
    "Motion",
    "PhantomPhase",
    "PhantomSettings",
    "PhantomVisit",
    "Scanner",
    "phantom_patient",
    "phantom_visits",
    "truth",
    "write_visit",
]

# On demand: what draws a phantom needs none of the libraries that read and write files.
_HOMES = {
    "breathing": ("Breathing", "Motion"),
    "disease_courses": ("CONTRASTS", "COURSES", "Contrast", "Course"),
    "phantom_dicom": ("LAYOUTS", "truth", "write_visit"),
    "synthetic_patient": ("PhantomPhase", "PhantomVisit", "phantom_patient", "phantom_visits"),
    "projections": ("Beam",),
    "ct_scanner": ("CONE_BEAM", "CONE_BEAM_4D", "KERNELS", "SCANNERS", "Scanner"),
    "phantom_settings": ("CONTOURABLE", "CONTOURED", "PhantomSettings"),
}

__getattr__ = names_on_demand(__name__, _HOMES)
