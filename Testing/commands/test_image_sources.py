"""``adaptsam propagate`` for 4D scans and patient folders."""

from __future__ import annotations

import gc
import json
import re
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_sam import TINY, tiny_model

from adaptsam import cli
from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.io import ImageSource, read_structures, write_dicom_series, write_structures
from adaptsam.propagation.volume_propagation import PropagationSettings, propagate_each
from adaptsam.sam import EmbeddingStore, build_sam, save_checkpoint

GRID = Geometry((8, 40, 44), (4.0, 4.0, 5.0), (-80.0, -75.0, 10.0))
COUNT = 4
FAST = ["--device=cpu", "--set=acceptance=off", "--set=register=off", "--parts=1"]


def scan(shift: int, source: DicomSource) -> tuple[Volume, StructureSet]:
    k, j, i = np.indices(GRID.shape)
    body = ((j - 20) / 18) ** 2 + ((i - 22) / 20) ** 2 < 1
    tumour = ((k - 4) / 2.5) ** 2 + ((j - 20 - shift) / 7) ** 2 + ((i - 22) / 7) ** 2 < 1
    array = np.where(body, -20, -1000) + 150 * tumour
    array = (array + np.random.default_rng(shift).normal(0, 12, GRID.shape)).astype(np.int16)
    return Volume(array, GRID, "CT", source), StructureSet((Structure("GTV-1", tumour),), GRID)


def write_scan(folder: Path, shift: int, source: DicomSource, description: str = "", number: int = 1) -> None:
    volume, structures = scan(shift, source)
    image = write_dicom_series(folder / "ct", volume, description=description, series_number=number)
    write_structures(folder / "rtstruct.dcm", structures, image)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4d: phases of one scan; patient: visits; and a tiny model."""
    folder = tmp_path_factory.mktemp("data")
    one = DicomSource(patient_id="4711", study_uid="1.2.3", frame_of_reference_uid="1.2.4")
    for phase in range(COUNT):
        write_scan(folder / "4d" / f"p{phase}", phase, one, f"Gated {25 * phase}%", phase)
    for number, day in enumerate(("20240301", "20240308", "20240322")):
        study = DicomSource(patient_id="4711", study_uid=f"1.3.{number}", header={"StudyDate": day}, study_date=day)
        write_scan(folder / "patient" / f"v{2 - number}", number, study)
    torch.manual_seed(1)
    save_checkpoint(folder / "tiny.safetensors", build_sam(TINY), TINY)
    return folder


def run(data: Path, output: Path, *arguments: str) -> int:
    given = ["propagate", *arguments, f"--checkpoint={data / 'tiny.safetensors'}", *FAST, f"--output={output}"]
    return cli.main(given)


def sentence_of(capsys: pytest.CaptureFixture) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_the_contoured_phase_is_found_and_carried_to_all_others_with_their_motion(data, tmp_path, capsys) -> None:
    phases = data / "4d"
    mask = f"--prior-mask={phases / 'p1' / 'rtstruct.dcm'}"
    assert run(data, tmp_path / "result", f"--phases={phases}", mask, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert [target["title"] for target in summary["targets"]] == ["Phase 0 %", "Phase 50 %", "Phase 75 %"]
    [motion] = summary["motion"]
    assert motion["places"] == ["Phase 0 %", "Phase 25 %", "Phase 50 %", "Phase 75 %"]
    assert motion["prior"] == 1
    assert motion["relative_to_prior_lps_mm"][1] == [0.0, 0.0, 0.0]
    assert len(motion["volume_cm3"]) == COUNT
    assert set(motion["amplitude_mm"]) == {"LR", "AP", "SI"}
    assert "Motion and volume" in (tmp_path / "result" / "report.html").read_text()
    last = ImageSource(phases, "", tuple(sorted((phases / "p3" / "ct").glob("*.dcm")))).read()
    carried = read_structures(tmp_path / "result" / "target-3.rtstruct.dcm", last)
    voxels = carried.structures[0].mask.sum()
    assert voxels * GRID.voxel_volume / 1000 == pytest.approx(motion["volume_cm3"][3], rel=0.02)


def test_the_contoured_phase_can_be_given(data, tmp_path, capsys) -> None:
    phases, mask = f"--phases={data / '4d'}", f"--prior-mask={data / '4d' / 'p3' / 'rtstruct.dcm'}"
    assert run(data, tmp_path / "result", phases, mask, "--prior-phase=75", "--json") == 0
    assert [one["title"] for one in json.loads(capsys.readouterr().out)["targets"]][-1] == "Phase 50 %"
    assert run(data, tmp_path / "other", phases, mask, "--prior-phase=33") == 2
    assert "no phase '33'; there are 0 %, 25 %, 50 %, 75 %" in sentence_of(capsys)


def test_a_planning_scan_outside_is_carried_to_all_phases(data, tmp_path, capsys) -> None:
    visit = data / "patient" / "v2"
    given = [f"--prior-image={visit / 'ct'}", f"--prior-mask={visit / 'rtstruct.dcm'}", f"--phases={data / '4d'}"]
    assert run(data, tmp_path / "result", *given, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert len(summary["targets"]) == COUNT
    assert "motion" not in summary  # another frame of reference: positions do not compare
    assert len(summary["course"][0]["volume_cm3"]) == COUNT + 1


def test_all_visits_of_a_patient_are_found_by_date(data, tmp_path, capsys) -> None:
    mask = f"--prior-mask={data / 'patient' / 'v1' / 'rtstruct.dcm'}"  # the second visit
    assert run(data, tmp_path / "result", f"--patient={data / 'patient'}", mask, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    titles = [target["title"] for target in summary["targets"]]
    assert titles == ["Visit 1, 7 days before the prior", "Visit 3, 14 days after the prior"]
    assert "motion" not in summary
    [course] = summary["course"]
    assert (course["prior"], len(course["volume_cm3"])) == (1, 3)
    report = (tmp_path / "result" / "report.html").read_text()
    assert "Volume over time" in report
    assert "4711" not in re.sub(r"base64,[^\"']+", "", report)  # pictures may hold any digits
    assert "2024" not in report.split("How it was made")[0].split("</style>")[1][:2000]


def test_the_contoured_series_of_a_patient_is_named_by_number_as_well(data, tmp_path, capsys) -> None:
    for number, day in enumerate(("20240301", "20240308")):
        study = DicomSource(patient_id="1", study_uid=f"1.3.{number}", header={"StudyDate": day}, study_date=day)
        write_scan(tmp_path / "p" / str(number), number, study, number=5 + number)
    volume, structures = scan(1, DicomSource())
    write_structures(tmp_path / "label.nii.gz", structures, volume)  # says nothing of a series
    given = [f"--patient={tmp_path / 'p'}", f"--prior-mask={tmp_path / 'label.nii.gz'}"]
    assert run(data, tmp_path / "result", *given, "--prior-series=6", "--json") == 0
    [target] = json.loads(capsys.readouterr().out)["targets"]
    assert target["title"] == "Visit 1, 7 days before the prior"
    assert run(data, tmp_path / "other", *given, "--prior-series=7") == 2
    assert "not told on which of the 2 visits" in sentence_of(capsys)


def test_what_is_missing_or_contradicts_is_told_in_one_sentence(data, tmp_path, capsys) -> None:
    mask = f"--prior-mask={data / '4d' / 'p1' / 'rtstruct.dcm'}"
    for given, complaint in (
        ([f"--patient={data / 'patient'}", mask], "not told on which of the 3 visits"),
        ([f"--phases={data / 'patient' / 'v1'}", mask], "holds no 4D scan"),
        ([f"--target={data / '4d' / 'p2' / 'ct'}", mask], "--prior-image is missing"),
        ([f"--phases={data / '4d'}", mask, "--reference=x.dcm"], "3 targets and 1 references"),
        ([f"--phases={data / '4d'}", mask, "--prior-series=1"], "--prior-series is for --prior-image; tell the"),
        ([f"--phases={data / '4d'}", mask, "--target-series=1"], "--target-series is for --target"),
        (
            [f"--phases={data / '4d'}", mask, "--prior-phase=0", f"--prior-image={data / '4d' / 'p1' / 'ct'}"],
            "--prior-phase and --prior-image contradict each other",
        ),
        ([f"--patient={data / 'patient'}", mask, "--prior-phase=0"], "--prior-phase is for --phases"),
    ):
        assert run(data, tmp_path / "result", *given) == 2
        assert complaint in sentence_of(capsys)
    assert not (tmp_path / "result").exists()


def test_another_patient_among_the_visits_is_told_before_anything_is_read(data, tmp_path, capsys, monkeypatch) -> None:
    stranger = DicomSource(patient_id="99", study_uid="1.9", header={"StudyDate": "20240401"}, study_date="20240401")
    for number, day in enumerate(("20240301", "20240308")):
        study = DicomSource(patient_id="1", study_uid=f"1.3.{number}", header={"StudyDate": day}, study_date=day)
        write_scan(tmp_path / "p" / str(number), number, study)
    write_scan(tmp_path / "p" / "2", 2, stranger)
    monkeypatch.setattr(ImageSource, "read", None)
    mask = f"--prior-mask={tmp_path / 'p' / '0' / 'rtstruct.dcm'}"
    assert run(data, tmp_path / "result", f"--patient={tmp_path / 'p'}", mask) == 2
    assert "Visit 3, 31 days after the prior and the prior image are of different patients" in sentence_of(capsys)


def test_one_visit_at_a_time_is_in_memory_and_its_embeddings_do_not_stay(data, tmp_path, monkeypatch) -> None:
    alive: list[weakref.ref] = []
    most = 0
    whole = ImageSource.read

    def watched(self: ImageSource) -> Volume:
        nonlocal most
        gc.collect()
        volume = whole(self)
        alive.append(weakref.ref(volume.array))
        most = max(most, sum(one() is not None for one in alive))
        return volume

    monkeypatch.setattr(ImageSource, "read", watched)
    phases = data / "4d"
    assert run(data, tmp_path / "r", f"--phases={phases}", f"--prior-mask={phases / 'p0' / 'rtstruct.dcm'}") == 0
    assert len(alive) == COUNT
    assert most == 2  # the prior and one target


def test_the_folder_of_embeddings_is_bounded_by_one_target_beside_the_prior(monkeypatch) -> None:
    torch.manual_seed(0)
    model = tiny_model()
    prior, structures = scan(0, DicomSource())
    held: list[int] = []
    forget = EmbeddingStore.forget

    def counted(self: EmbeddingStore, keys) -> None:
        assert self.folder is not None
        forget(self, keys)
        held.append(self.folder.kept().files)

    monkeypatch.setattr(EmbeddingStore, "forget", counted)
    targets = [scan(shift, DicomSource())[0] for shift in (1, 2, 3, 1)]
    settings = PropagationSettings(acceptance="off", register="off")
    results = list(propagate_each(prior, structures, targets, total=4, model=model, settings=settings))
    assert len(held) == 4
    assert max(held) == min(held) <= GRID.shape[0]  # the prior's slices alone
    first, *later = [propagation.encoded for _, propagation in results]
    assert all(encoded <= first for encoded in later)  # ten phases cost at most ten times one
    again = [propagation.structures.structures[0].mask for _, propagation in results]
    assert np.array_equal(again[0], again[3])


def test_targets_are_taken_one_at_a_time_and_checked_when_they_come() -> None:
    torch.manual_seed(0)
    model = tiny_model()
    prior, structures = scan(0, DicomSource())
    taken = []

    def targets():
        for shift in (1, 2):
            taken.append(shift)
            yield scan(shift, DicomSource())[0]
        yield replace(prior, array=np.zeros_like(prior.array))

    settings = PropagationSettings(acceptance="off", register="off")
    results = propagate_each(prior, structures, targets(), total=3, model=model, settings=settings)
    assert taken == []
    next(results)
    assert taken == [1]
    with pytest.raises(Exception, match="Target image 3 has the same value"):
        list(results)
