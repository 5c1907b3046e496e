"""From slices to volumes: what lies between a method for single images and a contour in a patient.

A volume is turned (``canonical``), windowed (``windows``) and cut to views (``views``, ``slices``). The prior's
structures are understood once (``contour``, ``prior``, ``acceptance``). The target is registered (``registration``, and
where asked ``deformable``), structures are located in it (``location``, ``search``) and paired with prior slices
(``pairing``, ``target``). The ``loop`` asks the method, ``fusion`` weighs its answer with the registered contour and
the tissue's ``appearance``, and ``cleanup``, ``confidence`` and ``summary`` make one object and a report of it.
"""

from adaptsam.volumes.deformable import DeformableSettings, Deformation, register_deformably
from adaptsam.volumes.loop import Carried, Watch, carry, unwatched
from adaptsam.volumes.method import SliceJob, SliceMethod, SliceResult
from adaptsam.volumes.prior import PriorVisit
from adaptsam.volumes.registration import RegistrationSettings, Rigid, register
from adaptsam.volumes.report import SliceReport, StructureReport
from adaptsam.volumes.settings import (
    AcceptanceSettings,
    CleanupSettings,
    ConfidenceSettings,
    FusionSettings,
    MisfitSettings,
    VolumeSettings,
)
from adaptsam.volumes.slices import check_image
from adaptsam.volumes.windows import WINDOWS, Window, choose_window

__all__ = [
    "WINDOWS",
    "AcceptanceSettings",
    "Carried",
    "CleanupSettings",
    "ConfidenceSettings",
    "DeformableSettings",
    "Deformation",
    "FusionSettings",
    "MisfitSettings",
    "PriorVisit",
    "RegistrationSettings",
    "Rigid",
    "SliceJob",
    "SliceMethod",
    "SliceReport",
    "SliceResult",
    "StructureReport",
    "VolumeSettings",
    "Watch",
    "Window",
    "carry",
    "check_image",
    "choose_window",
    "register",
    "register_deformably",
    "unwatched",
]
