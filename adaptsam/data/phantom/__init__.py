"""A synthetic thorax CT with exact contours: anatomy is drawn, rendered, and scanned at several visits."""

from typing import TYPE_CHECKING

from adaptsam.lazy import names_on_demand

if TYPE_CHECKING:
    from adaptsam.data.phantom.breathing import Breathing, Motion
    from adaptsam.data.phantom.courses import CONTRASTS, COURSES, Contrast, Course
    from adaptsam.data.phantom.dicom import LAYOUTS, truth, write_visit
    from adaptsam.data.phantom.patient import PhantomPhase, PhantomVisit, phantom_patient, phantom_visits
    from adaptsam.data.phantom.projections import Beam
    from adaptsam.data.phantom.scanner import CONE_BEAM, CONE_BEAM_4D, KERNELS, SCANNERS, Scanner
    from adaptsam.data.phantom.settings import CONTOURABLE, CONTOURED, PhantomSettings

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
    "courses": ("CONTRASTS", "COURSES", "Contrast", "Course"),
    "dicom": ("LAYOUTS", "truth", "write_visit"),
    "patient": ("PhantomPhase", "PhantomVisit", "phantom_patient", "phantom_visits"),
    "projections": ("Beam",),
    "scanner": ("CONE_BEAM", "CONE_BEAM_4D", "KERNELS", "SCANNERS", "Scanner"),
    "settings": ("CONTOURABLE", "CONTOURED", "PhantomSettings"),
}

__getattr__ = names_on_demand(__name__, _HOMES)
