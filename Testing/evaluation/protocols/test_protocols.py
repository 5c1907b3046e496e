"""Every protocol from a tiny copy of its published layout to the figures of a table."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from benchmark_folders import (
    drawn,
    gray,
    save,
    write_binary_task,
    write_coco_20i,
    write_fss_1000,
    write_lvis_92i,
    write_perseg,
    write_voc,
)

from adaptsam.errors import InputError
from adaptsam.evaluation import case_worker
from adaptsam.evaluation.case_results import Results, identity_of
from adaptsam.evaluation.case_statistics import Collected
from adaptsam.evaluation.case_worker import Setting
from adaptsam.evaluation.evaluation_cases import Study
from adaptsam.evaluation.evaluation_run import run_study
from adaptsam.evaluation.methods import make_methods
from adaptsam.evaluation.protocols import PROTOCOLS, Options, open_protocol
from adaptsam.evaluation.result_tables import published_table
from adaptsam.io import write_structures, write_volume
from adaptsam.synthetic.endoscopy.endoscopy_video import EndoscopySettings
from adaptsam.synthetic.thorax_phantom import PhantomSettings, phantom_patient


def found_in(study: Study, model, folder: Path, *methods: str) -> Collected:
    results = Results(folder, identity_of(study.protocol, {}, model))
    run_study(study, model, Setting(methods), results)
    found = Collected(results.records([case.name for case in study.cases]), study.measures, methods)
    assert not found.errors
    assert not any(found.failed.values())
    return found


def test_4d_lung_is_driven_from_dicom_to_the_published_mean(four_d_lung_folder, tiny, tmp_path):
    study = open_protocol("4d-lung", four_d_lung_folder)
    assert [case.name for case in study.cases] == ["100_HM10395"]
    assert "its contours are wrong" in study.skipped["118_HM10395"]
    [task] = list(study.cases[0].tasks())
    [truth] = task.truth.structures
    held = np.flatnonzero(truth.mask.any(axis=(1, 2)))
    assert task.pair.known_slices == {"Tumor": tuple(held)}
    assert task.pair.prior.dicom.study_date < task.pair.target.dicom.study_date
    found = found_in(study, tiny, tmp_path, "p2sam", "persam", "direct-transfer", "registration")
    for method in found.methods:
        assert 0 <= found.figure(method, study.measures[0]).value <= 1


def test_4d_lung_without_knowing_the_slices_gives_volumes(four_d_lung_folder, tiny, tmp_path):
    study = open_protocol("4d-lung-volumes", four_d_lung_folder)
    [task] = list(study.cases[0].tasks())
    assert task.pair.known_slices is None
    found = found_in(study, tiny, tmp_path, "panet", "rigid")
    assert found.figure("rigid", study.measures[0]).value > 0
    assert {measure.key for measure in study.measures} >= {"dice", "hausdorff_95", "added_path"}


def test_a_patient_of_4d_lung_with_one_usable_visit_is_skipped_by_name(four_d_lung_folder, copy_of):
    folder = copy_of(four_d_lung_folder)
    study = sorted((folder / "100_HM10395").iterdir())[-1]
    for path in study.rglob("*.dcm"):
        path.unlink()
    with pytest.raises(InputError, match="100_HM10395"):
        open_protocol("4d-lung", folder)


@pytest.mark.parametrize("spoiled", [0, 1])
def test_a_visit_of_4d_lung_that_cannot_be_used_costs_no_other_one(training_folders, tiny, tmp_path, spoiled):
    grid = training_folders.Grid((20, 40, 40), (10.0, 10.0, 14.0))
    [patient] = training_folders.write_four_d_lung(tmp_path, visits=3, seed=3, grid=grid)
    studies = sorted(patient.iterdir(), key=lambda study: study.name[6:10] + study.name[:5])
    for path in studies[spoiled].rglob("1-1.dcm"):
        dataset = pydicom.dcmread(path)
        if dataset.Modality == "RTSTRUCT":
            for contours in dataset.ROIContourSequence:
                contours.ContourSequence = pydicom.Sequence()
            dataset.save_as(path)
    [case] = open_protocol("4d-lung", tmp_path / "4D-Lung").cases
    assert f"visit-{spoiled + 1}: 1-1.dcm" in " ".join(case.problems)
    [task] = list(case.tasks())
    assert task.pair.name == "100_HM10395/visit-3"
    assert task.pair.structures.structures[0].mask.any()
    found = found_in(open_protocol("4d-lung", tmp_path / "4D-Lung"), tiny, tmp_path / "out", "panet")
    assert found.figure("panet", found.measures[0]).cases == 1


def test_nsclc_radiomics_is_tested_on_the_patients_of_its_test_part(nsclc_folder, tiny, tmp_path):
    study = open_protocol("nsclc-radiomics", nsclc_folder, Options(training=2))
    assert len(study.cases) == 1
    assert len(study.training) == 2
    assert study.cases[0].name not in {sample.patient for sample in study.training}
    found = found_in(study, tiny, tmp_path, "direct-transfer", "p2sam")
    assert found.figure("direct-transfer", study.measures[0]).cases == 1


def test_a_damaged_slice_of_nsclc_radiomics_skips_its_patient_by_name(nsclc_folder, copy_of, tiny, tmp_path):
    folder = copy_of(nsclc_folder)
    name = open_protocol("nsclc-radiomics", nsclc_folder).cases[0].name
    study = open_protocol("nsclc-radiomics", folder)
    for path in sorted((folder / name).rglob("1-0*.dcm")):
        path.write_bytes(path.read_bytes()[:600])
    results = Results(tmp_path, identity_of("nsclc-radiomics", {}, tiny))
    run_study(study, tiny, Setting(("direct-transfer",)), results)
    assert name in results.read(name)["error"]


def test_cvc_clinicdb_shows_the_third_frame_and_scores_those_after_it(training_folders, tiny, tmp_path):
    settings = EndoscopySettings(size=(48, 64))
    folder = training_folders.write_cvc_clinicdb(tmp_path / "cvc", range(24, 31), settings=settings)
    study = open_protocol("cvc-clinicdb", folder)
    assert "sequence-01" in study.skipped
    [case] = study.cases
    names = [task.pair.name for task in case.tasks()]
    assert names == ["sequence-02/frame-029", "sequence-02/frame-030"]
    found = found_in(study, tiny, tmp_path, "p2sam", "persam-f", "matcher")
    assert found.figure("matcher", study.measures[0]).cases == 1


def test_kvasir_seg_splits_its_pictures(kvasir_folder, tiny, tmp_path):
    study = open_protocol("kvasir-seg", kvasir_folder, Options(training=2))
    assert len(study.cases) == 1
    found = found_in(study, tiny, tmp_path, "direct-transfer", "fine-tune")
    assert found.figure("fine-tune", study.measures[0]).cases == 1


def test_folders_of_frames_are_videos_whose_first_frame_is_outlined(tiny, tmp_path):
    for video, frames in (("a", 3), ("b", 2), ("short", 1)):
        for number in range(frames):
            image, mask = drawn(number)
            save(tmp_path / "videos" / video / "images" / f"{number:02d}.png", image)
            save(tmp_path / "videos" / video / "masks" / f"{number:02d}.png", gray(mask))
    study = open_protocol("frames", tmp_path / "videos")
    assert [len(case.tasks.samples) for case in study.cases] == [2, 1]
    assert "fewer than two pictures" in study.skipped["short"]
    found = found_in(study, tiny, tmp_path / "out", "panet")
    assert found.figure("panet", study.measures[0]).cases == 2
    assert len(open_protocol("frames", tmp_path / "videos" / "a").cases) == 1


def test_a_frame_without_the_structure_is_scored_and_does_not_cost_its_video(tiny, tmp_path):
    for number in range(4):
        image, mask = drawn(number)
        save(tmp_path / "video" / "images" / f"{number:02d}.png", image)
        save(tmp_path / "video" / "masks" / f"{number:02d}.png", gray(mask & (number != 2)))
    study = open_protocol("frames", tmp_path / "video")
    found = found_in(study, tiny, tmp_path / "out", "panet")
    assert not found.errors
    record = json.loads(next((tmp_path / "out" / "cases").iterdir()).read_text())
    dice = [item["dice"] for item in record["methods"]["panet"]["items"]]
    assert len(dice) == 3
    assert dice[1] in (0.0, 1.0)


def test_perseg_shows_the_first_picture_of_each_object(tiny, tmp_path):
    root, _ = write_perseg(tmp_path / "perseg", ("cat", "can"))
    study = open_protocol("perseg", root)
    assert study.domain == "natural"
    assert [[t.pair.name for t in case.tasks()] for case in study.cases] == [["can/01", "can/02"], ["cat/01", "cat/02"]]
    found = found_in(study, tiny, tmp_path / "out", "p2sam", "panet")
    assert found.figure("panet", study.measures[0]).cases == 2


def test_fss_1000_asks_for_every_picture_once_with_another_one_shown(tiny, tmp_path):
    write_fss_1000(tmp_path, ("abacus",), split=("abacus",))
    [case] = open_protocol("fss-1000", tmp_path).cases
    tasks = list(case.tasks())
    assert len({task.pair.name for task in tasks}) == 10
    for task in tasks:
        assert not np.array_equal(task.pair.prior.image, task.pair.image)


def test_fss_1000_draws_the_picture_that_is_shown_by_its_number(tmp_path):
    """The few-shot code goes through the files as they are sorted, and draws with np.random.choice(range(1, 11))."""
    write_fss_1000(tmp_path, ("abacus", "zebra"), split=("abacus", "zebra"))
    cases = open_protocol("fss-1000", tmp_path).cases
    state = np.random.RandomState(0)
    expected = []
    for name in ("abacus", "zebra"):
        for query in sorted(str(number) for number in range(1, 11)):
            while (support := str(state.choice(range(1, 11), 1, replace=False)[0])) == query:
                pass
            expected.append((f"{name}/{query}", f"{name}/{support}"))
    assert [(query.name, support.name) for case in cases for query, support in case.tasks.episodes] == expected


def test_queries_that_are_shown_the_same_picture_share_what_is_learned_from_it(tmp_path):
    write_voc(tmp_path / "data")
    [car, _] = open_protocol("voc", tmp_path / "data", Options(structures=("car", "cat"))).cases
    tasks = list(car.tasks())
    assert len({id(task.pair.prior) for task in tasks}) == 1 < len(tasks)


def test_episodes_are_those_that_numpy_s_choice_would_draw(tmp_path):
    """The few-shot code draws class, query and support with np.random.choice after np.random.seed(0)."""
    write_coco_20i(tmp_path, fold=2)
    study = open_protocol("coco-20i", tmp_path, Options(fold=2))
    episodes = [pair for case in study.cases for pair in case.tasks.episodes]
    assert len(episodes) == 1000
    state = np.random.RandomState(0)
    classes = [2 + 4 * n for n in range(20)]
    names = [f"{copy}" for copy in range(3)]
    expected = []
    for _ in range(1000):
        number = state.choice(classes, 1, replace=False)[0]
        query = state.choice(names, 1, replace=False)[0]
        while (support := state.choice(names, 1, replace=False)[0]) == query:
            pass
        expected.append((f"class-{number:02d}", query, support))
    ours = [(query.name.split("/")[0], query.name[-1], support.name[-1]) for query, support in episodes]
    assert sorted(ours) == sorted(expected)
    by_class = [one for one in expected if one[0] == "class-02"]
    assert ours[: len(by_class)] == by_class


def test_lvis_92i_takes_its_classes_in_turn(tmp_path):
    pytest.importorskip("pycocotools")
    write_lvis_92i(tmp_path, classes=20)
    study = open_protocol("lvis-92i", tmp_path, Options(fold=0))
    assert [len(case.tasks.episodes) for case in study.cases] == [1150, 1150]


@pytest.mark.parametrize("kind", ["cuhk", "sbu", "msd", "duts"])
def test_alignsam_s_data_sets_have_the_columns_of_its_table(kind, tiny, tmp_path):
    root = write_binary_task(tmp_path / "data", kind, train=3, test=2)
    study = open_protocol(kind, root, Options(training=2))
    found = found_in(study, tiny, tmp_path / "out", "persam", "direct-transfer")
    for measure in study.measures:
        assert 0 <= found.figure("persam", measure).value <= 1
    assert study.text
    assert study.branch == ("explicit" if kind == "sbu" else "implicit")  # Table 1
    assert "alignsam-2" in study.published
    table = published_table("alignsam-2", study, found, {})
    assert table.columns[-2:] == tuple(f"Ours, {measure.title}" for measure in study.measures)
    [persam] = [row for row in table.rows if row[0] == "persam"]
    assert "not run" not in persam


def test_voc_is_scored_by_class_without_its_borders(tiny, tmp_path):
    write_voc(tmp_path / "data")
    study = open_protocol("voc", tmp_path / "data", Options(structures=("car", "cat")))
    assert [case.name for case in study.cases] == ["car", "cat"]
    [task, _] = list(study.cases[0].tasks())
    assert task.counted is not None
    found = found_in(study, tiny, tmp_path / "out", "panet")
    assert found.figure("panet", study.measures[0]).cases == 2
    one = open_protocol("voc", tmp_path / "data", Options(structures=("car",)))
    assert (one.text, one.branch, len(one.training), len(one.cases)) == ("car", "explicit", 2, 2)


def test_the_phantom_cohort_needs_no_data_and_may_grow():
    two, three = (open_protocol("phantom", None, Options(patients=n)) for n in (2, 3))
    assert [case.name for case in three.cases][:2] == [case.name for case in two.cases]


@pytest.fixture(scope="module")
def own_list(tmp_path_factory) -> Path:
    """Two visits of a small phantom as NRRD, with a list of them."""
    folder = tmp_path_factory.mktemp("own")
    settings = PhantomSettings(contours=("GTV-1", "Lung-Left", "Lung-Right"))
    visits = phantom_patient(7, 2, shape=(24, 56, 56), spacing=(7.0, 7.0, 12.0), settings=settings)
    for number, visit in enumerate(visits):
        write_volume(folder / f"ct{number}.nrrd", visit.volume)
        write_structures(folder / f"ct{number}.seg.nrrd", visit.structures, visit.volume)
        for one in visit.structures.structures:
            alone = replace(visit.structures, structures=(one,))
            write_structures(folder / f"{one.name}-{number}.seg.nrrd", alone, visit.volume)
            write_structures(folder / f"{one.name}-{number}.nii.gz", alone, visit.volume)
    case = {
        "prior_image": "ct0.nrrd",
        "prior_mask": "ct0.seg.nrrd",
        "target_image": "ct1.nrrd",
        "structures": ["GTV-1"],
    }
    listed = [
        {"name": "patient-a", **case, "target_mask": "ct1.seg.nrrd"},
        {"name": "patient-a", **case, "target_mask": "ct1.seg.nrrd"},
        {"name": "gone", **case, "target_mask": "ct9.seg.nrrd"},
    ]
    (folder / "cases.json").write_text(json.dumps(listed))
    return folder / "cases.json"


def test_own_cases_are_read_from_a_list_and_what_is_wrong_is_named(own_list, tiny, tmp_path):
    study = open_protocol("own", own_list)
    assert "two cases called patient-a" in next(iter(study.skipped.values()))
    results = Results(tmp_path, identity_of("own", {}, tiny))
    run_study(study, tiny, Setting(("copied", "rigid")), results)
    assert results.read("patient-a")["methods"]["copied"]["items"][0]["structure"] == "GTV-1"
    assert "ct9.seg.nrrd" in results.read("gone")["error"]


def own_study(own_list, structures, prior_mask, target_mask):
    """One case of the list's scans with other files of structures, of one name whatever they are."""
    case = {"name": "a", "prior_image": "ct0.nrrd", "target_image": "ct1.nrrd", "structures": structures}
    path = own_list.with_name("other.json")
    path.write_text(json.dumps([{**case, "prior_mask": prior_mask, "target_mask": target_mask}]))
    return open_protocol("own", path)


def own_record(study, model, folder, *methods):
    results = Results(folder, identity_of("own", {}, model))
    run_study(study, model, Setting(methods or ("copied",)), results)
    return results.read("a")


def test_a_structure_whose_truth_one_visit_lacks_is_named(own_list, tiny, tmp_path):
    study = own_study(own_list, ["GTV-1", "Lung-Left"], "ct0.seg.nrrd", "GTV-1-1.seg.nrrd")
    record = own_record(study, tiny, tmp_path)
    assert record["problems"] == ["The truth of a lacks Lung-Left, which is not scored there."]
    assert [item["structure"] for item in record["methods"]["copied"]["items"]] == ["GTV-1"]


def test_what_the_files_of_a_case_lack_is_said_once_for_all_its_targets(own_list, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(case_worker, "said_by_readers", lambda task: ["Prior contours: Left out: points (2)."])
    study = own_study(own_list, ["GTV-1"], "ct0.seg.nrrd", ["ct1.seg.nrrd", "GTV-1-1.nii.gz"])
    record = own_record(study, tiny, tmp_path)
    assert len(record["methods"]["copied"]["items"]) == 2
    assert record["problems"] == ["Prior contours: Left out: points (2)."]


def test_several_observers_are_a_truth_each_and_a_rival(own_list, tiny, tmp_path):
    study = own_study(own_list, ["GTV-1"], "ct0.seg.nrrd", ["ct1.seg.nrrd", "GTV-1-1.nii.gz"])
    methods = own_record(study, tiny, tmp_path, "copied", "observer")["methods"]
    assert len(methods["copied"]["items"]) == 2
    assert [item["dice"] for item in methods["observer"]["items"]] == [1.0, 1.0]  # both drew the same
    alone = own_study(own_list, ["GTV-1"], "ct0.seg.nrrd", "ct1.seg.nrrd")
    assert "Only one observer" in json.dumps(own_record(alone, tiny, tmp_path / "alone", "observer"))


def test_a_structure_is_never_scored_by_another_one_s_truth(own_list, tiny, tmp_path):
    wrong = own_study(own_list, ["GTV-1"], "GTV-1-0.seg.nrrd", "Lung-Left-1.seg.nrrd")
    assert "has none of the structures GTV-1" in own_record(wrong, tiny, tmp_path / "wrong")["error"]
    # A labelmap has a number alone, so that its only structure is the one that is meant.
    number = own_study(own_list, ["GTV-1"], "GTV-1-0.seg.nrrd", "GTV-1-1.nii.gz")
    [item] = own_record(number, tiny, tmp_path / "number")["methods"]["copied"]["items"]
    assert item["structure"] == "GTV-1"


def test_a_case_whose_files_became_others_is_computed_again(own_list, tiny, tmp_path):
    gtv, lung = (own_study(own_list, None, f"{name}-0.seg.nrrd", "ct1.seg.nrrd") for name in ("GTV-1", "Lung-Left"))
    assert own_record(gtv, tiny, tmp_path)["methods"]["copied"]["items"][0]["structure"] == "GTV-1"
    known = own_record(lung, tiny, tmp_path)
    assert [item["structure"] for item in known["methods"]["copied"]["items"]] == ["Lung-Left"]
    assert own_record(lung, tiny, tmp_path) == known
    # A disk that is not there just now costs no results.
    gone = own_study(own_list, None, "gone-0.seg.nrrd", "ct1.seg.nrrd")
    assert own_record(gone, tiny, tmp_path) == known


def test_a_corrected_mask_of_a_frame_is_seen(tmp_path):
    for number in range(2):
        image, mask = drawn(number)
        save(tmp_path / "video" / "images" / f"{number}.png", image)
        save(tmp_path / "video" / "masks" / f"{number}.png", gray(mask))
    before, again = (open_protocol("frames", tmp_path / "video").cases[0].version for _ in range(2))
    save(tmp_path / "video" / "masks" / "1.png", gray(np.roll(mask, 5, axis=0)))
    os.utime(tmp_path / "video" / "masks" / "1.png", (1, 1))
    assert before == again != open_protocol("frames", tmp_path / "video").cases[0].version


def test_a_method_that_fails_on_a_later_target_keeps_nothing_of_its_case(own_list, tiny, tmp_path, monkeypatch):
    from adaptsam.evaluation.methods.registration_rows import Copied

    def fails_at_the_second(self, bench, pair, asked=[]):  # noqa: B006
        asked.append(pair)
        if len(asked) == 2:
            raise InputError("the target has no contrast.")
        return volume(self, bench, pair)

    volume = Copied.volume
    monkeypatch.setattr(Copied, "volume", fails_at_the_second)
    [case] = own_study(own_list, ["GTV-1"], "ct0.seg.nrrd", "ct1.seg.nrrd").cases
    study = replace(open_protocol("own", own_list), cases=(replace(case, tasks=lambda: 2 * list(case.tasks())),))
    row = own_record(study, tiny, tmp_path)["methods"]["copied"]
    assert (row["failed"], row["items"]) == ("the target has no contrast.", [])
    assert not list((tmp_path / "worst").iterdir())


def test_a_list_that_says_something_unknown_is_refused(tmp_path):
    path = tmp_path / "cases.json"
    for text, words in (
        ("[", "no JSON"),
        ("{}", "no list of cases"),
        ('[{"prior_image": "a"}]', "has no prior_mask"),
        ('[{"prior_image": "a", "prior_mask": "b", "tarqet": 1}]', "no 'tarqet'"),
        ('[{"prior_image": "a", "prior_mask": "b"}]', "no target_image and target_mask"),
        ('[{"prior_image": "a", "prior_mask": "b", "structures": "GTV-1"}]', "structures is a list of names"),
        ('[{"prior_image": "a", "prior_mask": "b", "structures": [1]}]', "structures is a list of names"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            open_protocol("own", path)


def test_follow_ups_are_made_of_any_scan_with_contours(own_list, tiny, tmp_path):
    study = open_protocol("followups", own_list, Options(copies=2, change="small", tumour="vanish"))
    found = found_in(study, tiny, tmp_path, "copied")
    assert [case.name for case in study.cases] == ["patient-a-small-vanish", "gone-small-vanish"]
    assert [task.pair.name for task in study.cases[0].tasks()] == ["follow-up-0", "follow-up-1"]
    # The contour is copied, and what it was drawn around is gone; four follow-ups are two patients for the statistics.
    figure = found.figure("copied", study.measures[0])
    assert (figure.value, figure.cases) == (0, 2)


def test_follow_ups_with_known_slices_are_scored_on_them_alone(own_list, tiny, tmp_path):
    study = open_protocol(
        "followups-slices", own_list, Options(copies=1, change="small", tumour="vanish", structures=("Lung-Left",))
    )
    [task] = study.cases[0].tasks()
    given = {structure.name: structure.mask for structure in task.truth.structures}
    slices = list(task.pair.known_slices["Lung-Left"])
    assert slices == np.flatnonzero(given["Lung-Left"].any(axis=(1, 2))).tolist()
    assert len(slices) > 5
    assert [measure.title for measure in study.measures] == ["Dice"]
    assert found_in(study, tiny, tmp_path, "copied").figure("copied", study.measures[0]).value > 0.5


def test_phantom_cohorts_of_two_seeds_share_no_patient():
    names = [
        {case.name for case in open_protocol("phantom", None, Options(patients=50, seed=seed)).cases} for seed in (0, 1)
    ]
    assert all(len(of_seed) == 50 for of_seed in names)
    assert not names[0] & names[1]


def test_unknown_protocols_and_missing_data_are_told():
    with pytest.raises(InputError, match="Did you mean '4d-lung'"):
        open_protocol("4d_lung", None)
    for name in PROTOCOLS:
        if name != "phantom":
            with pytest.raises(InputError, match="--data"):
                open_protocol(name, None)
    with pytest.raises(InputError, match="Did you mean 'persam'"):
        make_methods(["persan"])
