from adaptsam.slicewise.search_range import Search
from adaptsam.slicewise.volume_settings import VolumeSettings


def _run(search: Search, present: set[int]) -> list[int]:
    looked = []
    waiting = list(search.first)
    while waiting:
        for k in waiting:
            assert search.wants(k)
            search.tell(k, k in present)
            looked.append(k)
        waiting = search.next_slices()
    return sorted(looked)


def test_a_structure_is_followed_until_two_slices_in_a_row_are_rejected() -> None:
    search = Search([10, 11, 12], (0, 29))
    assert _run(search, set(range(7, 16))) == list(range(5, 18))


def test_one_rejected_slice_does_not_end_the_search() -> None:
    assert _run(Search([10, 11], (0, 29)), {10, 11, 13, 14}) == list(range(8, 17))


def test_nothing_is_followed_where_nothing_was_found() -> None:
    assert _run(Search([10, 11, 12], (0, 29)), set()) == [10, 11, 12]


def test_given_slices_are_all_that_is_looked_at() -> None:
    search = Search([3, 5, 9])
    assert _run(search, {3, 5, 9}) == [3, 5, 9]


def test_margins_are_in_mm_and_stay_inside_the_target() -> None:
    settings = VolumeSettings(extend_mm=30.0, blunt_margin_mm=3.0)
    search = Search.around((5, 20), 25, 3.0, (False, True), 12.0, settings)
    assert search.first == list(range(1, 22))
    assert max(_run(search, set(range(25)))) == 21  # the blunt end is not followed
    assert min(_run(Search.around((12, 20), 25, 3.0, (False, True), 12.0, settings), set(range(25)))) == 2


def test_a_structure_above_the_target_leaves_nothing_to_look_at() -> None:
    assert Search.around((40, 50), 25, 3.0, (False, False), 12.0, VolumeSettings()).first == []
