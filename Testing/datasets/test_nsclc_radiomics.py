"""NSCLC-Radiomics as it is downloaded, whole and damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from adaptsam.datasets import DataSet, check_samples, open_dataset, open_nsclc_radiomics, recognise
from adaptsam.errors import InputError
from adaptsam.image import select_structures
from adaptsam.io import read_structures, read_volume

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def series(patient: Path, modality: str) -> Path:
    """The folder of a patient's first series of a modality."""
    first = (path for path in sorted(patient.rglob("*.dcm")) if pydicom.dcmread(path).Modality == modality)
    return next(first).parent


def case(dataset: DataSet, name: str):
    return next(one for one in dataset.cases if one.name == name)


def test_every_slice_with_the_tumour_is_a_sample_with_the_papers_window(nsclc_folder):
    dataset = open_dataset(nsclc_folder)
    patient = nsclc_folder / "LUNG1-002"
    volume = read_volume(series(patient, "CT"))
    truth = select_structures(read_structures(series(patient, "RTSTRUCT"), volume), ["GTV-1"]).structures[0].mask
    here = [sample for sample in dataset.samples if sample.patient == "LUNG1-002"]
    slices = np.flatnonzero(truth.any(axis=(1, 2)))
    assert [sample.name for sample in here] == [f"LUNG1-002/slice-{k:03d}" for k in slices]
    for sample, k in zip(here, slices, strict=True):
        image, mask = sample.read()
        assert image.dtype == np.uint8
        assert image.shape == (56, 56, 3)
        expected = np.clip((volume.array[k].astype(float) + 910) / 1500, 0, 1) * 255
        assert np.abs(image[..., 0] - expected).max() <= 0.51
        assert (mask == truth[k]).all()


def test_seg_and_rtstruct_give_the_same_masks(nsclc_folder, copy_of):
    other = copy_of(nsclc_folder)
    for patient in other.iterdir():
        shutil.rmtree(series(patient, "SEG"))
    pairs = zip(open_dataset(nsclc_folder).samples, open_dataset(other).samples, strict=True)
    for by_seg, by_rtstruct in pairs:
        assert by_seg.name == by_rtstruct.name
        assert (by_seg.read()[1] == by_rtstruct.read()[1]).all()


def test_another_structure_can_be_asked_for(nsclc_folder):
    heart = open_nsclc_radiomics(nsclc_folder, structure="heart")
    assert len(heart.samples) > 0
    assert heart.samples[0].read()[1].sum() > 20


def test_a_folder_above_the_collection_and_one_patient_are_found_too(nsclc_folder):
    assert len(open_dataset(nsclc_folder.parent).cases) == 3
    assert [one.name for one in open_dataset(nsclc_folder / "LUNG1-003").cases] == ["LUNG1-003"]
    assert recognise(nsclc_folder) == "nsclc-radiomics"


def test_images_and_structures_of_two_downloads_are_put_together(nsclc_folder, tmp_path):
    for manifest, modalities in (("manifest-1", ("CT",)), ("manifest-2", ("SEG", "RTSTRUCT"))):
        for patient in nsclc_folder.iterdir():
            for modality in modalities:
                source = series(patient, modality)
                shutil.copytree(source, tmp_path / manifest / "NSCLC-Radiomics" / source.relative_to(nsclc_folder))
    names = [sample.name for sample in open_dataset(nsclc_folder).samples]
    assert [sample.name for sample in open_dataset(tmp_path).samples] == names


def test_a_patient_without_the_structure_is_told_with_what_there_is(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    for modality, sequence, keyword in (
        ("SEG", "SegmentSequence", "SegmentDescription"),
        ("RTSTRUCT", "StructureSetROISequence", "ROIName"),
    ):
        path = next(series(root / "LUNG1-001", modality).iterdir())
        dataset = pydicom.dcmread(path)
        setattr(dataset[sequence].value[0], keyword, "PTV")
        dataset.save_as(path)
    broken = case(open_dataset(root), "LUNG1-001")
    assert not broken.samples
    assert "no structure 'GTV-1': it has PTV, Lung-Left" in " ".join(broken.problems)
    assert case(open_dataset(root), "LUNG1-002").samples


def test_the_patient_that_is_published_without_a_tumour_is_explained(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    (root / "LUNG1-001").rename(root / "LUNG1-128")
    dataset = open_nsclc_radiomics(root, structure="GTV-7")
    assert "published without a contour" in " ".join(case(dataset, "LUNG1-128").problems)
    assert "published without a contour" not in " ".join(case(dataset, "LUNG1-002").problems)


def test_a_damaged_seg_is_replaced_by_the_rtstruct_and_told(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    path = next(series(root / "LUNG1-001", "SEG").iterdir())
    path.write_bytes(path.read_bytes()[:2000])
    repaired = case(open_dataset(root), "LUNG1-001")
    assert len(repaired.samples) == len(case(open_dataset(nsclc_folder), "LUNG1-001").samples)
    assert "damaged" in " ".join((*repaired.problems, *repaired.remarks))


def test_missing_and_copied_slices_are_told(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    (series(root / "LUNG1-001", "CT") / "1-004.dcm").unlink()
    scan = series(root / "LUNG1-002", "CT")
    shutil.copy(scan / "1-003.dcm", scan / "copy.dcm")
    twice = pydicom.dcmread(series(root / "LUNG1-003", "CT") / "1-003.dcm")
    twice.SOPInstanceUID = twice.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    twice.save_as(series(root / "LUNG1-003", "CT") / "phase.dcm")
    dataset = open_dataset(root)
    assert not case(dataset, "LUNG1-001").samples
    assert "lacks the slices at" in case(dataset, "LUNG1-001").problems[0]
    assert case(dataset, "LUNG1-002").samples
    assert "copies" in case(dataset, "LUNG1-002").remarks[0]
    assert not case(dataset, "LUNG1-003").samples
    assert "more than one slice" in case(dataset, "LUNG1-003").problems[0]


def test_a_seg_of_another_series_is_told(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    shutil.rmtree(series(root / "LUNG1-001", "RTSTRUCT"))
    path = next(series(root / "LUNG1-001", "SEG").iterdir())
    dataset = pydicom.dcmread(path)
    dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"
    dataset.save_as(path)
    same_frame = case(open_dataset(root), "LUNG1-001")
    assert same_frame.samples
    assert "names another series" in same_frame.problems[0]
    dataset.FrameOfReferenceUID = "1.2.3.4"
    dataset.save_as(path)
    other_frame = case(open_dataset(root), "LUNG1-001")
    assert not other_frame.samples
    assert "another frame of reference" in " ".join(other_frame.problems)


def test_a_second_rtstruct_with_the_structure_is_told_and_a_dose_is_no_image(nsclc_folder, copy_of):
    patient = copy_of(nsclc_folder) / "LUNG1-001"
    shutil.rmtree(series(patient, "SEG"))
    second = pydicom.dcmread(next(series(patient, "RTSTRUCT").iterdir()))
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dose = pydicom.dcmread(next(series(patient, "CT").iterdir()))
    dose.Modality, dose.SeriesInstanceUID, dose.NumberOfFrames = "RTDOSE", pydicom.uid.generate_uid(), 3
    for name, dataset in (("replanned", second), ("dose", dose)):
        (patient / name).mkdir()
        dataset.save_as(patient / name / "1-1.dcm")
    told = case(open_dataset(patient.parent), "LUNG1-001")
    assert told.samples
    assert told.problems == ()
    [remark] = told.remarks
    assert remark.startswith("There is more than one RTSTRUCT with 'GTV-1'; ")


def test_patients_without_contours_or_images_are_told(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    shutil.rmtree(series(root / "LUNG1-001", "SEG"))
    shutil.rmtree(series(root / "LUNG1-001", "RTSTRUCT"))
    shutil.rmtree(series(root / "LUNG1-002", "CT"))
    shutil.rmtree(root / "LUNG1-003")
    (root / "LUNG1-003").mkdir()
    dataset = open_dataset(root)
    assert "no SEG or RTSTRUCT" in case(dataset, "LUNG1-001").problems[0]
    assert "no image series" in case(dataset, "LUNG1-002").problems[0]
    assert "no image series" in case(dataset, "LUNG1-003").problems[0]
    assert not dataset.usable
    with pytest.raises(InputError, match="cannot be used as nsclc-radiomics: LUNG1-001: There is no SEG"):
        dataset.check_usable()


def test_a_slice_cut_short_is_found_by_reading_and_named(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    whole = open_dataset(root)
    victim = whole.samples[0]
    victim.source.path.write_bytes(victim.source.path.read_bytes()[:-500])
    checked = check_samples(open_dataset(root))
    assert victim.name not in {sample.name for sample in checked.samples}
    assert len(checked.samples) == len(whole.samples) - 1
    [problem] = case(checked, "LUNG1-001").problems
    assert problem.startswith(victim.name)
    assert "truncated" in problem


def test_no_identity_is_in_what_is_said(nsclc_folder, copy_of):
    root = copy_of(nsclc_folder)
    for path in (root / "LUNG1-001").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID = "Sekretova^Susi", "PID-4711-X"
        dataset.save_as(path)
    victim = next(series(root / "LUNG1-001", "SEG").iterdir())
    victim.write_bytes(victim.read_bytes()[:-9000])
    said = repr(check_samples(open_nsclc_radiomics(root, structure="nothing")))
    assert "Sekretova" not in said
    assert "PID-4711" not in said


def test_the_real_patient_gives_its_21_slices(tmp_path):
    if not (SHARED / "ct-lung1-001").is_dir():
        pytest.skip(f"{SHARED / 'ct-lung1-001'} is not on this machine")
    (tmp_path / "LUNG1-001").symlink_to(SHARED / "ct-lung1-001")
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.samples] == [f"LUNG1-001/slice-{k:03d}" for k in range(65, 86)]
    image, mask = dataset.samples[10].read()
    assert image.shape == (512, 512, 3)
    assert 50 < image[mask].mean() < 220
    assert mask.sum() > 1000
