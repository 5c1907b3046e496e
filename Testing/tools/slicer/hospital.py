"""A planning study as a hospital sends it, driven click by click on the bench; clicks are counted, pictures taken.

    python Testing/tools/slicer/hospital.py LUNG1-003.zip --output FOLDER [--first 28 --slices 32]

LUNG1-003.zip is TCIA's NSCLC-Radiomics LUNG1-003 with CT, RTSTRUCT (13 contoured regions, 12 points) and RTDOSE. Volumes,
segments and points come into the scene as Slicer's DICOM module and SlicerRT put them there. The later CT is the planning CT moved by
12 and 6 mm, with noise, so that nobody waits for anatomy: what is counted are clicks. A click in the view is a mouse press that Slicer's
own interactor style and markups displayable manager take.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]
from scipy import ndimage
from slicer_bench import bench

POINTS = ("MARKER", "ISOCENTER")
#: Pixels (j, i) between the two CTs.
MOVED = (6, 12)


class Database:
    """What the modules ask of Slicer's DICOM database: the files of instances and series."""

    def __init__(self, *folders: Path) -> None:
        import pydicom

        self._instances: dict[str, str] = {}
        self._series: dict[str, list[str]] = {}
        for path in sorted(one for folder in folders for one in folder.rglob("*.dcm")):
            header = pydicom.dcmread(path, specific_tags=["SOPInstanceUID", "SeriesInstanceUID"])
            self._instances[str(header.SOPInstanceUID)] = str(path)
            self._series.setdefault(str(header.SeriesInstanceUID), []).append(str(path))

    def fileForInstance(self, uid: str) -> str:
        return self._instances.get(uid, "")

    def filesForSeries(self, uid: str) -> tuple[str, ...]:
        return tuple(self._series.get(uid, ()))


class Clicks:
    """A mouse that counts."""

    def __init__(self) -> None:
        self.count, self.steps = 0, []

    def press(self, what: str, do: Any) -> None:
        self.count += 1
        self.steps.append(what)
        do()

    def told(self, task: str) -> None:
        print(f"{task}: {self.count} clicks ({', '.join(self.steps)})", flush=True)
        self.count, self.steps = 0, []


class Study:
    """The scene of the study."""

    def __init__(self, zipped: Path, folder: Path, first: int, slices: int) -> None:
        import pydicom
        import slicer

        from adaptsam.io import read_structures, read_volume, write_dicom_series

        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(folder)
        files = {one: str(pydicom.dcmread(one, specific_tags=["Modality"]).Modality) for one in folder.rglob("*.dcm")}
        self.rtstruct = next(one for one, kind in files.items() if kind == "RTSTRUCT")
        dose = next(one for one, kind in files.items() if kind == "RTDOSE")
        planning = read_volume(next(one for one, kind in files.items() if kind == "CT"))
        structures = read_structures(self.rtstruct, planning)
        later = write_dicom_series(folder / "later", self._later(planning, first, slices), prefix="CT")
        slicer.dicomDatabase = Database(folder)
        self._hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        self._patient = self._hierarchy.CreateSubjectItem(self._hierarchy.GetSceneItemID(), "LUNG1-003")
        self._hierarchy.SetItemAttribute(self._patient, "DICOM.PatientID", "LUNG1-003")
        self._studies: dict[str, int] = {}
        self.ct = self._volume("2: CT planning", planning, "20140101", "CT")
        self.later = self._volume("3: CT week 3", later, "20140122", "CT")
        self.contours = self._segmentation(structures)
        self._first = first
        self._fiducials(structures)
        self._dose(dose)
        self._volume("9: PET", replace(planning, array=np.maximum(planning.array, 0)), "20140101", "PT")

    @staticmethod
    def _later(planning: Any, first: int, slices: int) -> Any:
        noise = np.random.default_rng(1).normal(0, 12, (slices, *planning.array.shape[1:]))
        array = np.roll(planning.array[first : first + slices], MOVED, axis=(1, 2)) + noise
        grid = planning.geometry
        origin = tuple(float(value) for value in grid.world(np.array([0, 0, first])))
        shape = (slices, *grid.shape[1:])
        return replace(planning, array=array.astype(np.int16), geometry=replace(grid, shape=shape, origin=origin))

    def truth(self, segmentId: str) -> Any:
        """A structure on the later CT, bool (K, J, I)."""
        from AdaptSAMLib import segments

        mask = segments.readMask(self.contours, segmentId, self.ct)[self._first :]
        return np.roll(mask, MOVED, axis=(1, 2))

    def _study(self, day: str) -> int:
        if day not in self._studies:
            self._studies[day] = self._hierarchy.CreateStudyItem(self._patient, day)
            self._hierarchy.SetItemAttribute(self._studies[day], "DICOM.StudyDate", day)
        return self._studies[day]

    def _volume(self, name: str, volume: Any, day: str, modality: str) -> Any:
        from tools.slicer.tutorial import addVolume

        node = addVolume(volume, name)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(400, 40)
        if volume.dicom is not None:
            node.SetAttribute("DICOM.instanceUIDs", " ".join(volume.dicom.sop_instance_uids))
        item = self._hierarchy.CreateItem(self._study(day), node)
        self._hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)
        return node

    def _segmentation(self, structures: Any) -> Any:
        import pydicom
        from tools.slicer.tutorial import addContours

        drawn = [one for one in structures.structures if one.interpreted_type not in POINTS]
        node = addContours(self.ct, replace(structures, structures=tuple(drawn)), "1: RTSTRUCT")
        for number, one in enumerate(drawn):
            segment = node.GetSegmentation().GetSegment(f"s{number}")
            segment.SetTag("DicomRtImport.RoiNumber", str(one.number))
        item = self._hierarchy.CreateItem(self._study("20140101"), node)
        series = str(pydicom.dcmread(self.rtstruct, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)
        self._hierarchy.SetItemUID(item, "DICOM", series)
        return node

    def _fiducials(self, structures: Any) -> None:
        import slicer

        for one in structures.structures:
            if one.interpreted_type in POINTS:
                slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", one.name)

    def _dose(self, path: Path) -> None:
        import pydicom
        import slicer

        dataset = pydicom.dcmread(path)
        array = (dataset.pixel_array * float(dataset.DoseGridScaling)).astype(np.float32)
        node = slicer.util.addVolumeFromArray(array, name="5: RTDOSE")
        node.SetAttribute("DicomRtImport.DoseVolume", "1")
        item = self._hierarchy.CreateItem(self._study("20140101"), node)
        self._hierarchy.SetItemAttribute(item, "DICOM.Modality", "RTDOSE")


def tickOnly(mouse: Clicks, widget: Any, names: list[str], qt: Any) -> None:
    """A click on each tick that is not as it should be."""
    for number in range(widget.property("count")):
        item = widget.item(number)
        wanted = qt.Qt.Checked if item.text() in names else qt.Qt.Unchecked
        if item.checkState() != wanted:
            mouse.press(item.text(), lambda item=item, wanted=wanted: item.setCheckState(wanted))


def drive(driver: Any, study: Study, output: Path) -> None:
    import qt
    import slicer
    from AdaptSAMLib import geometry, segments

    ui, mouse = driver.panel.ui, Clicks()
    driver.panel.initializeParameterNode()
    names = segments.segmentNames(study.contours)
    ticked = [names[one] for one in driver.panel.parameterNode.segments]
    print(f"{len(names)} regions; ticked at first: {', '.join(ticked)}")
    print("ticked images:", [one.GetName() for one in driver.panel.parameterNode.targets], flush=True)
    driver.picture("opened")
    mouse.press("Organs at risk", ui.organsButton.click)
    wanted = ["GTV-1", "Spinal cord", "Esophagus", "Heart", "Lung L", "Lung R"]
    tickOnly(mouse, ui.segmentList, wanted, qt)
    assert sorted(names[one] for one in driver.panel.parameterNode.segments) == sorted(wanted)
    driver.picture("ready")
    mouse.press("Apply", ui.applyButton.click)
    mouse.told("from the loaded study to Apply for six structures")
    ui.applyButton.click()  # and stop it: two structures are enough to go on with
    driver.until(lambda: driver.panel.run is None)

    tickOnly(Clicks(), ui.segmentList, ["GTV-1", "Heart"], qt)
    ui.registrationComboBox.setProperty("currentIndex", 2)
    ui.acceptanceCheckBox.click()
    ui.applyButton.click()
    driver.until(lambda: driver.panel.run is None)
    print("result:", driver.panel.ui.statusLabel.property("text"), flush=True)
    driver.picture("done")

    chosen, outcome, truth = firstWrong(driver, study)
    driver.look(study.later, chosen.index)
    before = sliceOf(outcome, chosen, study)
    driver.view.save(output / f"{driver.name}-slice-before.png")
    lacking, index = mostWrong(before, truth)
    button = ui.addButton if lacking else ui.excludeButton
    mouse.press(button.property("text"), button.click)
    driver.picture("placing")
    where = geometry.worldOfVoxel(study.later, [index[1], index[0], chosen.index])
    mouse.press("in the slice", lambda: driver.view.click(where))
    driver.until(lambda: "Corrected." in ui.statusLabel.property("text"))
    mouse.told("to correct a slice with a point")
    after = sliceOf(outcome, chosen, study)
    print(f"{chosen.place}: Dice {dice(before, truth):.2f} before, {dice(after, truth):.2f} after", flush=True)
    driver.view.save(output / f"{driver.name}-slice-after.png")
    button.click()
    driver.picture("corrected")
    export(driver, mouse, output / "RS_week3.dcm", study)
    ui.compareButton.click()
    ui.surfaceButton.click()
    driver.picture("compared")
    slicer.dicomDatabase = None


def firstWrong(driver: Any, study: Study) -> tuple[Any, Any, Any]:
    """The first slice to look at whose contour is wrong (Dice below 0.8), its result, and its true mask."""
    for looked in range(1, 100):
        driver.panel.ui.nextButton.click()
        chosen, outcome = driver.panel.view.current, driver.panel.view.structure.outcome
        truth = study.truth(chosen.segmentId)[chosen.index]
        if truth.any() and dice(sliceOf(outcome, chosen, study), truth) < 0.8:
            print(f"slices looked at before one needs a correction: {looked - 1}", flush=True)
            return chosen, outcome, truth
    raise RuntimeError("No slice needs a correction.")


def sliceOf(outcome: Any, chosen: Any, study: Study) -> Any:
    from AdaptSAMLib import segments

    return segments.readMask(outcome.segmentationNode, chosen.segmentId, study.later)[chosen.index]


def dice(one: Any, other: Any) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1)


def mostWrong(mask: Any, truth: Any) -> tuple[bool, tuple[int, int]]:
    """Whether something is lacking rather than too much, and the innermost pixel (j, i) of it."""
    lacking = (truth & ~mask).sum() >= (mask & ~truth).sum()
    depth = ndimage.distance_transform_edt(truth & ~mask if lacking else mask & ~truth)
    j, i = np.unravel_index(int(depth.argmax()), depth.shape)
    return bool(lacking), (int(j), int(i))


def export(driver: Any, mouse: Clicks, path: Path, study: Study) -> None:
    """The button, and "Save" in the dialog that it opens."""
    import pydicom
    import qt

    class Dialog:
        @staticmethod
        def getSaveFileName(*_: Any) -> str:
            mouse.press("Save", lambda: None)
            return str(path)

    real, qt.QFileDialog = qt.QFileDialog, Dialog
    mouse.press("Export RTSTRUCT…", driver.panel.ui.exportButton.click)
    qt.QFileDialog = real
    driver.until(lambda: "Writ" in driver.panel.ui.statusLabel.property("text") or path.is_file())
    mouse.told("to an RTSTRUCT of the result")
    dataset = pydicom.dcmread(path)
    series = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    referred = [one.ReferencedSOPInstanceUID for one in series.ContourImageSequence]
    own = study.later.GetAttribute("DICOM.instanceUIDs").split()
    regions = [
        (roi.ROIName, one.RTROIInterpretedType)
        for roi, one in zip(dataset.StructureSetROISequence, dataset.RTROIObservationsSequence, strict=True)
    ]
    print(
        f"{dataset.Modality}, {dataset.ApprovalStatus}: {regions}; refers to the image's own slices: {referred == own}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="first slice of the later CT")
    parser.add_argument("--slices", type=int, default=107)
    args = parser.parse_args()
    bench.start()
    import slicer
    from AdaptSAMLib import packages
    from tools.slicer.tutorial import Driver

    packages.missing = lambda *_: []
    for kind in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
        node = getattr(slicer, kind)()
        node.SetSingletonTag("Singleton")
        slicer.mrmlScene.AddNode(node)
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(args.output, "hospital")
        study = Study(args.zip, Path(folder), args.first, args.slices)
        try:
            drive(driver, study, args.output)
        finally:
            driver.close()


if __name__ == "__main__":
    main()
