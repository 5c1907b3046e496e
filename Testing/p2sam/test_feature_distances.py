"""The three distances against cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from adaptsam.p2sam import hungarian, jensen_shannon, wasserstein
from adaptsam.p2sam.feature_distances import wasserstein_bound


def cloud(n=40, channels=6, seed=0):
    return torch.randn(n, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distance", [wasserstein, jensen_shannon, hungarian])
def test_a_set_is_at_no_distance_from_itself(distance):
    assert distance(cloud(), cloud()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("distance", [wasserstein, jensen_shannon, hungarian])
def test_a_distance_is_the_same_both_ways(distance):
    a, b = cloud(), cloud(30, seed=1) + 0.5
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-6)


@pytest.mark.parametrize("distance", [wasserstein, jensen_shannon, hungarian])
def test_a_distance_grows_with_what_differs(distance):
    a, apart = cloud(), torch.tensor([2.0, 0, 0, 0, 0, 0])
    assert distance(a, a + apart) < distance(a + apart, a - 2 * apart)


def test_wasserstein_of_a_shifted_set_is_the_squared_length_of_the_shift():
    shift = torch.tensor([3.0, 4.0, 0, 0, 0, 0])
    assert wasserstein(cloud(), cloud() + shift) == pytest.approx(25, rel=1e-5)


def test_wasserstein_splits_a_feature_that_has_more_mass_than_its_counterpart():
    one, two = torch.tensor([[0.0]]), torch.tensor([[1.0], [3.0]])
    assert wasserstein(one, two) == pytest.approx((1 + 9) / 2)


def test_wasserstein_weighs_the_target_and_the_scale_of_weights_is_nothing():
    one, two = torch.tensor([[0.0]]), torch.tensor([[1.0], [3.0]])
    weights = torch.tensor([0.75, 0.25])
    assert wasserstein(one, two, weights) == pytest.approx(0.75 + 0.25 * 9)
    assert wasserstein(one, two, 8 * weights) == pytest.approx(3)


def test_jensen_shannon_of_sets_apart_is_ln_2():
    assert jensen_shannon(cloud(), cloud() + 100) == pytest.approx(math.log(2))


def test_jensen_shannon_of_sets_that_share_half_is_half_of_ln_2():
    a = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    b = torch.tensor([[0.0, 0.0], [0.0, 9.0]])
    assert jensen_shannon(a, b) == pytest.approx(math.log(2) / 2)


@pytest.mark.parametrize("other", [[[1.0, 2.0, 3.0]], [[1.0, 2.0, 4.0]]])
def test_jensen_shannon_of_single_features_tells_equal_from_different(other):
    a, b = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor(other)
    assert jensen_shannon(a, b) == pytest.approx(0 if torch.equal(a, b) else math.log(2))


def test_jensen_shannon_sees_the_two_components_that_vary_most():
    a = cloud(200, 2) @ torch.tensor([[9.0, 0, 0], [0, 9.0, 0]])
    assert jensen_shannon(a, a + torch.tensor([0, 0, 1e-3])) < 0.05


def test_hungarian_matches_clusters_whatever_their_order():
    groups = 10 * torch.eye(4, 6).repeat_interleave(5, dim=0) + 0.01 * cloud(20)
    assert hungarian(groups, groups.flip(0)) == pytest.approx(0, abs=1e-5)


def test_hungarian_of_orthogonal_centres_is_one_and_of_opposite_ones_two():
    a = torch.tensor([[1.0, 0.0]])
    assert hungarian(a, torch.tensor([[0.0, 2.0]])) == pytest.approx(1)
    assert hungarian(a, -3 * a) == pytest.approx(2)


def test_hungarian_clusters_no_finer_than_the_smaller_set():
    assert hungarian(torch.tensor([[1.0, 1.0]]), torch.eye(2)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (5, 5), (30, 17)])
def test_the_bound_of_wasserstein_is_never_above_it_and_reaches_it_for_a_shifted_set(n, m):
    random = torch.Generator().manual_seed(n * m)
    a, b = torch.randn(n, 6, generator=random), torch.randn(m, 6, generator=random) + 1
    assert 0 < wasserstein_bound(a, b) <= wasserstein(a, b) * (1 + 1e-9)
    assert wasserstein_bound(a, a + 2) == pytest.approx(wasserstein(a, a + 2))
