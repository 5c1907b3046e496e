"""What is ticked of a planning study: targets and organs, and later images of one modality. Dose, outline and couch are not."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct-lung1-003" / "LUNG1-003.zip"

NAMES = {
    "target": (
        "GTV",
        "GTV-1",
        "gtvp",
        "GTVn1",
        "PTV 60",
        "PTV60Gy",
        "CTV_LN",
        "IGTV-T",
        "ITV_MIP",
        "Tumour bed",
        "Boost",
    ),
    "organ": (
        "Heart",
        "Lung L",
        "Spinal cord",
        "Vertebral body",
        "Corpus callosum",
        "Parotid_L",
        "Brainstem",
        "A_Carotid_R",
    ),
    "other": (
        *(
            "BODY",
            "External",
            "Patient",
            "Outer Contour",
            "Body-1",
            "BodyContour",
            "CouchSurface",
            "CouchInterior",
            "Table top",
        ),
        *("Dose 95[%]", "95%", "50 Gy", "45.6Gy", "iso 20", "Isocenter 1", "marker 3", "contrast", "zRing", "_help"),
    ),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_a_name_tells_what_a_region_is(application: Any, kind: str, name: str) -> None:
    from AdaptSAMLib import rois

    assert rois.kind(name) == kind
    assert rois.kind(name, "ORGAN") == kind, "some planning systems call everything an organ"


@pytest.mark.parametrize(
    ("interpreted", "kind"), [("EXTERNAL", "other"), ("support", "other"), ("PTV", "target"), ("DOSE_REGION", "other")]
)
def test_the_type_of_the_rtstruct_decides_where_it_tells_something(
    application: Any, interpreted: str, kind: str
) -> None:
    from AdaptSAMLib import rois

    assert rois.kind("Heart", interpreted) == kind


def segmentation(volume: Any, names: Iterable[str], shape: tuple[int, int, int] = (20, 32, 32)) -> Any:
    import slicer
    from AdaptSAMLib import segments

    node = segments.newSegmentation(volume, "3: RTSTRUCT: ARIA")
    mask = np.zeros(shape, bool)
    mask[6:14, 10:20, 10:20] = True
    inner, first = segments.cropped(mask)
    for number, name in enumerate(names):
        prototype = slicer.vtkSegment()
        prototype.SetName(name)
        prototype.SetTag("DicomRtImport.RoiNumber", str(number + 1))
        segments.setSegment(node, f"s{number + 1}", prototype, inner, first, volume)
    return node


@pytest.fixture
def study(scene: Any) -> Callable[..., Any]:
    """Makes a volume of a study of one patient, as DICOM and SlicerRT put it into the scene."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "P1")
    days: dict[str, int] = {}

    def make(name: str, day: str, modality: str, outside: int) -> Any:
        if day not in days:
            days[day] = hierarchy.CreateStudyItem(patient, day)
            hierarchy.SetItemAttribute(days[day], "DICOM.StudyDate", day)
        array = np.full((20, 32, 32), outside, np.int16)
        array[5:15, 8:24, 8:24] = 40
        node = slicer.util.addVolumeFromArray(array, name=name)
        node.CreateDefaultDisplayNodes()
        item = hierarchy.CreateItem(days[day], node)
        if modality:
            hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)
        return node

    return make


def test_of_a_planning_study_targets_organs_and_images_of_one_modality_are_ticked(
    study: Callable[..., Any], opened: Callable[..., Any]
) -> None:
    from PersonalizedSAM import PersonalizedSAMWidget

    ct = study("2: CT", "20260101", "CT", -1000)
    dose = study("5: RTDOSE: Plan A", "20260101", "RTDOSE", 0)
    converted = study("Dose in Gy", "20260108", "", 0)
    converted.SetAttribute("DicomRtImport.DoseVolume", "1")
    for name, day, modality in (("T1", "20260101", "MR"), ("PET", "20260108", "PT"), ("fraction 3", "20260108", "")):
        study(name, day, modality, 0)
    week = study("CBCT week 1", "20260110", "CT", -1000)
    found = study("nobody knows, but it has air", "20260111", "", -1000)
    segmentation(ct, ["BODY", "CouchSurface", "PTV 60", "GTV", "Heart", "Dose 95[%]"])
    panel = opened(PersonalizedSAMWidget, 480, 1300)
    panel.initializeParameterNode()
    assert list(panel.parameterNode.segments) == ["s3", "s4", "s5"]
    assert list(panel.parameterNode.targets) == [week, found]
    listed = [panel.ui.targetList.item(n).text() for n in range(panel.ui.targetList.count)]
    assert not [one for one in listed if dose.GetName() in one or converted.GetName() in one]


def test_an_mr_goes_to_mr_and_to_what_nobody_knows_but_not_to_ct(study: Callable[..., Any]) -> None:
    from AdaptSAMLib import images

    first = study("T2", "20260101", "MR", 0)
    study("CT", "20260102", "CT", -1000)
    second, unknown = study("T2 week 3", "20260120", "MR", 0), study("converted", "20260121", "", 0)
    assert images.followUps(first) == [second, unknown]


class Database:
    """What is asked of Slicer's DICOM database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def filesForSeries(self, series: str) -> tuple[str, ...]:
        return (str(self.path),) if series == "1.2.3" else ()


@pytest.mark.skipif(not REAL.is_file(), reason="../shared/data is not there")
def test_types_are_read_from_the_rtstruct_in_the_dicom_database(
    study: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A clinical structure set that calls all targets and "contrast" organs, and the patient EXTERNAL."""
    import slicer
    from AdaptSAMLib import rois

    with zipfile.ZipFile(REAL) as zipped:
        zipped.extract("LUNG1-003/1.dcm", tmp_path)
    monkeypatch.setattr(slicer, "dicomDatabase", Database(tmp_path / "LUNG1-003" / "1.dcm"), raising=False)
    names = ["The man", "GTV-1", "PTV-1", "CTV-1", "CTV-2", "GTV-2", "GTV-3", "Spinal cord", "Esophagus", "Heart"]
    node = segmentation(study("CT", "20260101", "CT", -1000), [*names, "Lung L", "Lung R", "contrast", "I1"])
    assert list(rois.kinds(node).values()) == ["organ", *["target"] * 6, *["organ"] * 5, "other", "organ"], "by name"
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.SetItemUID(hierarchy.CreateItem(hierarchy.GetSceneItemID(), node), "DICOM", "1.2.3")
    assert list(rois.kinds(node).values()) == ["other", *["target"] * 6, *["organ"] * 5, "other", "other"]
