from adaptsam.slicewise.slice_pairing import middle_pairs, nearest_slice, neighbours


def test_the_nearest_usable_slice_is_taken_and_the_lower_of_two() -> None:
    assert nearest_slice(7.2, [2, 6, 9]) == 6
    assert nearest_slice(4.0, [2, 6, 9]) == 2
    assert nearest_slice(100.0, [2, 6, 9]) == 9


def test_stacks_are_paired_from_their_middles_and_clamped_at_the_ends() -> None:
    assert middle_pairs([10, 11, 12], [40, 41, 42]) == {10: 40, 11: 41, 12: 42}
    assert middle_pairs([10, 11, 12, 13, 14], [40, 41, 42]) == {10: 40, 11: 40, 12: 41, 13: 42, 14: 42}
    assert middle_pairs([10, 11], [40, 41, 42, 43]) == {10: 41, 11: 42}


def test_neighbouring_prior_slices_are_the_nearest_usable_ones() -> None:
    assert neighbours(6, [2, 5, 6, 8, 9], 3) == [6, 5, 8]
    assert neighbours(6, [6], 3) == [6]
