"""Readers of the public benchmarks on tiny copies of their layouts, whole and damaged."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from benchmark_folders import (
    write_coco_20i,
    write_fss_1000,
    write_lvis_92i,
    write_perseg,
)

from adaptsam.datasets.coco_20i import open_coco_20i
from adaptsam.datasets.fss_1000 import open_fss_1000
from adaptsam.datasets.lvis_92i import open_lvis_92i
from adaptsam.datasets.perseg import open_perseg
from adaptsam.datasets.pickled_lists import read_plain_pickle
from adaptsam.errors import InputError


def test_perseg_has_an_object_a_case_and_masks_of_any_colour(tmp_path):
    root, truth = write_perseg(tmp_path, ("cat", "can"))
    dataset = open_perseg(root)
    assert [case.name for case in dataset.cases] == ["can", "cat"]
    assert "2 of the 40 published objects" in dataset.remarks[0]
    image, mask = dataset.cases[1].samples[0].read()
    assert image.shape == (24, 32, 3)
    np.testing.assert_array_equal(mask, truth["cat", 0])


def test_a_picture_of_perseg_without_its_mask_is_named(tmp_path):
    root, _ = write_perseg(tmp_path, ("cat",))
    (root / "Annotations" / "cat" / "01.png").unlink()
    [case] = open_perseg(root).cases
    assert len(case.samples) == 2
    assert "cat/01.jpg has no mask 01.png" in case.problems[0]


def test_fss_1000_takes_the_classes_of_its_test_split(tmp_path):
    root = write_fss_1000(tmp_path, ("abacus", "zucchini"), split=("zucchini", "yurt"))
    dataset = open_fss_1000(tmp_path)
    assert [case.name for case in dataset.cases] == ["zucchini"]
    assert "1 of 2 classes are not here: yurt" in dataset.problems[0]
    assert [s.name for s in dataset.cases[0].samples[:2]] == ["zucchini/1", "zucchini/10"]
    (root / "splits" / "test.txt").unlink()
    with pytest.raises(InputError, match=r"lacks splits/test\.txt"):
        open_fss_1000(root)


def test_coco_20i_has_the_20_classes_of_a_fold_and_their_value_in_the_mask(tmp_path):
    write_coco_20i(tmp_path, fold=1)
    dataset = open_coco_20i(tmp_path, fold=1)
    assert len(dataset.cases) == 20
    assert dataset.cases[1].name == "class-05"
    _, mask = dataset.cases[1].samples[0].read()
    assert 0 < mask.mean() < 1
    with pytest.raises(InputError, match="folds 0 to 3"):
        open_coco_20i(tmp_path, fold=4)
    with pytest.raises(InputError, match=r"fold0\.pkl is missing"):
        open_coco_20i(tmp_path, fold=0)


def test_an_unknown_label_value_is_named(tmp_path):
    from PIL import Image

    root = write_coco_20i(tmp_path, fold=0)
    sample = open_coco_20i(tmp_path, fold=0).cases[0].samples[0]
    Image.fromarray(np.full((24, 32), 137, np.uint8)).save(sample.source.mask)
    with pytest.raises(InputError, match="has the value 137, but classes go to 80"):
        sample.read()
    assert root.name == "COCO2014"


def test_lvis_92i_fills_polygons_and_run_lengths(tmp_path):
    pytest.importorskip("pycocotools")
    write_lvis_92i(tmp_path, classes=20)
    dataset = open_lvis_92i(tmp_path, fold=3)
    assert [case.name for case in dataset.cases] == ["class-0004", "class-0014"]
    _, polygon = dataset.cases[0].samples[0].read()
    _, runs = dataset.cases[0].samples[1].read()
    expected = np.zeros((24, 32), bool)
    expected[4:12, 6:20] = True
    np.testing.assert_array_equal(polygon, expected)
    np.testing.assert_array_equal(runs, expected)


def test_a_list_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch " + str(tmp_path / "ran"),)

    path = tmp_path / "fold0.pkl"
    path.write_bytes(pickle.dumps({0: [Evil()]}))
    with pytest.raises(InputError, match="no list of plain values"):
        read_plain_pickle(path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(pickle.dumps({0: ["a"]})[:-4])
    with pytest.raises(InputError, match="damaged"):
        read_plain_pickle(path)


def test_what_lacks_its_folders_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    for open_, words in (
        (open_perseg, "'Images' and 'Annotations'"),
        (open_fss_1000, "folder data"),
        (open_coco_20i, "annotations"),
        (open_lvis_92i, "folder coco"),
    ):
        with pytest.raises(InputError, match=words):
            open_(tmp_path / "empty")


def test_folders_may_be_given_one_level_too_high(tmp_path):
    root, _ = write_perseg(tmp_path / "data", ("cat",))
    assert open_perseg(Path(root).parent).cases
