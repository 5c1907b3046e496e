"""The benchmarks' figures against cases worked out by hand, and against plain pixel-by-pixel definitions."""

import numpy as np
import pytest

from adaptsam.metrics.image_metrics import Counts


def plain_e_measure(mask, truth):
    """Fan et al. (2018), pixel by pixel."""
    if not truth.any():
        return float((~mask).mean())
    if truth.all():
        return float(mask.mean())
    a, b = truth - truth.mean(), mask - mask.mean()
    alignment = 2 * a * b / (a * a + b * b)
    return float(((alignment + 1) ** 2 / 4).mean())


def random_masks(seed):
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.9, 2)
    return rng.random((9, 13)) < share[0], rng.random((9, 13)) < share[1]


@pytest.mark.parametrize("seed", range(8))
def test_all_figures_are_those_of_their_plain_definitions(seed):
    mask, truth = random_masks(seed)
    counts = Counts.of(mask, truth)
    precision, recall = (mask & truth).sum() / mask.sum(), (mask & truth).sum() / truth.sum()
    specificity = (~mask & ~truth).sum() / (~truth).sum()
    assert counts.iou == pytest.approx((mask & truth).sum() / (mask | truth).sum())
    assert counts.dice == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert counts.f_beta == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    assert counts.mean_absolute_error == pytest.approx(np.abs(mask.astype(float) - truth).mean())
    assert counts.balance_error_rate == pytest.approx(1 - (recall + specificity) / 2)
    assert counts.e_measure == pytest.approx(plain_e_measure(mask, truth))


def test_a_mask_with_two_pixels_more_than_its_two_has_the_figures_worked_out_by_hand():
    truth, mask = np.zeros((2, 5), bool), np.zeros((2, 5), bool)
    truth[0, :2], mask[0, :4] = True, True
    counts = Counts.of(mask, truth)
    assert counts == Counts(2, 2, 0, 6)
    assert (counts.iou, counts.dice) == (0.5, pytest.approx(2 / 3))
    assert counts.f_beta == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))
    assert (counts.mean_absolute_error, counts.balance_error_rate) == (0.2, pytest.approx(0.125))


def test_a_mask_agrees_perfectly_with_itself_and_empty_masks_agree():
    mask, _ = random_masks(1)
    for one in (mask, np.zeros((4, 4), bool), np.ones((4, 4), bool)):
        counts = Counts.of(one, one)
        assert (counts.iou, counts.dice, counts.f_beta, counts.e_measure) == (1, 1, 1, pytest.approx(1))
        assert (counts.mean_absolute_error, counts.balance_error_rate) == (0, 0)


def test_an_empty_mask_against_something_has_neither_overlap_nor_f_measure():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    counts = Counts.of(np.zeros((4, 4), bool), truth)
    assert (counts.iou, counts.f_beta, counts.mean_absolute_error, counts.balance_error_rate) == (0, 0, 0.5, 0.5)


def test_counts_add_up_and_pixels_that_do_not_count_are_left_out():
    mask, truth = random_masks(2)
    left = np.zeros(mask.shape, bool)
    left[:, :6] = True
    whole = Counts.of(mask, truth)
    assert Counts.of(mask, truth, left) + Counts.of(mask, truth, ~left) == whole


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Counts.of(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
