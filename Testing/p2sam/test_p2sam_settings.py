"""What a setting means, and which ones mean nothing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from adaptsam.errors import InputError
from adaptsam.p2sam import PERSAM, RELEASED_LUNG, P2SamSettings, ablation_settings

MANY = (100, 100)


def test_the_default_is_the_paper_s_four_pairs_of_parts_with_wasserstein_retrieval():
    assert P2SamSettings().counts(*MANY) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert P2SamSettings().retrieval
    assert P2SamSettings().distance == "wasserstein"


def test_the_released_lung_command_tries_up_to_three_positives_with_one_negative():
    assert RELEASED_LUNG.counts(*MANY) == [(1, 1), (2, 1), (3, 1)]


def test_persam_has_one_part():
    assert PERSAM.counts(*MANY) == [(1, 1)]


def test_a_fixed_number_of_parts_is_a_grid_of_one():
    assert P2SamSettings(positives=(3, 3), negatives=(2, 2)).counts(*MANY) == [(3, 2)]


def test_a_grid_keeps_the_negatives_in_the_inner_loop():
    assert P2SamSettings(positives=(1, 2), negatives=(0, 1)).counts(*MANY) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_without_retrieval_only_the_largest_number_of_parts_is_tried():
    assert P2SamSettings(retrieval=False).counts(*MANY) == [(4, 4)]


@pytest.mark.parametrize(
    ("settings", "patches", "expected"),
    [
        (P2SamSettings(), (2, 60), [(1, 1), (2, 2)]),
        (P2SamSettings(), (60, 2), [(1, 1), (2, 2)]),
        (P2SamSettings(positives=(1, 3), negatives=(1, 1)), (2, 60), [(1, 1), (2, 1)]),
        (P2SamSettings(domain="natural"), (3, 60), [(1, 1), (2, 1), (3, 1)]),
        (P2SamSettings(retrieval=False), (3, 60), [(3, 3)]),
    ],
)
def test_a_count_that_needs_more_patches_than_there_are_is_skipped(settings, patches, expected):
    assert settings.counts(*patches) == expected


@pytest.mark.parametrize(
    ("settings", "patches", "expected"),
    [
        (P2SamSettings(positives=(3, 4)), (2, 60), [(2, 2)]),
        (P2SamSettings(positives=(3, 3), negatives=(2, 2)), (1, 60), [(1, 2)]),
        (P2SamSettings(), (64, 0), [(1, 0)]),
    ],
)
def test_a_prior_with_too_few_patches_for_every_count_still_gets_what_it_affords(settings, patches, expected):
    assert settings.counts(*patches) == expected


@pytest.mark.parametrize("domain", ["medical", "natural"])
def test_every_row_of_the_ablations_is_a_setting(domain):
    rows = ablation_settings(domain)
    assert sum(table == 4 for table, _ in rows) == 10
    assert [row for table, row in rows if table == 5] == ["w/o retrieval", "Hungarian", "Jensen-Shannon", "Wasserstein"]
    assert rows[4, "n=3 w/o retrieval"].counts(*MANY)[0][0] == 3
    assert len(rows[4, "n=5 w/ retrieval"].counts(*MANY)) == 5
    assert rows[5, "Hungarian"].distance == "hungarian"
    assert rows[4, "n=4 w/o retrieval"] == rows[5, "w/o retrieval"]
    assert rows[6, "SAM-large"] == rows[5, "Wasserstein"] == P2SamSettings(domain=domain)
    assert rows[6, "PerSAM-huge"].counts(*MANY) == rows[4, "n=1 w/ retrieval"].counts(*MANY)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"domain": "surgical"}, "medical, natural"),
        ({"distance": "euclidean"}, "wasserstein, jensen-shannon, hungarian"),
        ({"positives": (0, 4)}, "'positives'"),
        ({"positives": (3, 2)}, "'positives'"),
        ({"positives": 4}, "'positives'"),
        ({"positives": (1, 2.5)}, "'positives'"),
        ({"negatives": (-1, 2)}, "'negatives'"),
        ({"domain": "natural", "negatives": (1, 1)}, "exactly one negative"),
        ({"distance": "hungarian", "weighted": True}, "weighted"),
    ],
)
def test_a_setting_without_meaning_is_refused_with_what_to_do(values, message):
    with pytest.raises(InputError, match=message):
        P2SamSettings(**values)


def test_settings_cannot_change_under_a_running_method():
    with pytest.raises(FrozenInstanceError):
        P2SamSettings().retrieval = False
