"""Samples and splits."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from adaptsam.datasets import Case, DataSet, Sample, open_dataset
from adaptsam.datasets.dataset import MaskPatch
from adaptsam.errors import InputError


class Nothing:
    def read(self):
        return np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool)


def patients(count: int, each: int = 2) -> DataSet:
    cases = []
    for number in range(count):
        name = f"P{number:03d}"
        cases.append(Case(name, tuple(Sample(f"{name}/slice-{k}", name, Nothing()) for k in range(each))))
    return DataSet("folder", "made", tuple(cases))


@pytest.mark.parametrize(
    ("count", "sizes"), [(421, (337, 42, 42)), (1000, (800, 100, 100)), (3, (1, 1, 1)), (2, (2, 0, 0))]
)
def test_a_split_has_the_published_sizes_and_no_patient_twice(count, sizes):
    split = patients(count).split(seed=3)
    groups = [{sample.patient for sample in split[part]} for part in ("train", "validation", "test")]
    assert tuple(map(len, groups)) == sizes
    assert len(set.union(*groups)) == count
    assert sum(map(len, split.values())) == 2 * count


def test_a_split_depends_on_the_seed_and_hardly_on_who_is_missing():
    whole = patients(100)
    test = {sample.patient for sample in whole.split(seed=1)["test"]}
    assert test == {sample.patient for sample in whole.split(seed=1)["test"]}
    assert test != {sample.patient for sample in whole.split(seed=2)["test"]}
    fewer = DataSet("folder", "made", tuple(case for case in whole.cases if case.name != "P050"))
    assert len(test ^ {sample.patient for sample in fewer.split(seed=1)["test"]}) <= 2


def test_shares_that_are_none_are_refused():
    with pytest.raises(InputError, match="whose sum is 1"):
        patients(4).split(shares=(0.5, 0.1, 0.1))


def test_a_samples_number_is_the_same_on_every_machine():
    assert Sample("LUNG1-001/slice-048", "LUNG1-001", Nothing()).number == 8160253560614827205
    numbers = {sample.number for sample in patients(500, each=10).samples}
    assert len(numbers) == 5000
    assert max(numbers) < 2**63


def test_a_mask_comes_back_from_its_patch():
    mask = np.random.default_rng(0).random((37, 53)) > 0.7
    mask[:5], mask[:, 40:] = False, False
    patch = MaskPatch.of(mask)
    assert (patch.mask() == mask).all()
    assert len(patch.bits) <= 32 * 40 / 8 + 1
    assert not MaskPatch.of(np.zeros((3, 4), bool)).mask().any()


def test_a_sample_can_be_sent_to_another_process_and_holds_no_pixels(nsclc_folder):
    sample = open_dataset(nsclc_folder).samples[0]
    packed = pickle.dumps(sample)
    assert len(packed) < 2000
    assert (pickle.loads(packed).read()[0] == sample.read()[0]).all()
