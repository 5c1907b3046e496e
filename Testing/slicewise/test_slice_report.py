"""What of a structure a person should look at."""

from __future__ import annotations

import numpy as np

from adaptsam.slicewise.slice_report import SliceReport, StructureReport


def one_slice(index: int, confidence: float, *, accepted: bool = False, expected: bool = False) -> SliceReport:
    nothing = np.zeros((0, 2))
    return SliceReport(index, index, accepted, 0.0, 1.0, confidence, nothing, nothing[:, 0], expected=expected)


def test_the_empty_slice_beyond_an_end_is_looked_at_too_and_none_farther_off() -> None:
    drawn = [one_slice(5, 0.9, accepted=True), one_slice(6, 0.3, accepted=True)]
    empty = [one_slice(3, 0.1), one_slice(4, 0.5), one_slice(7, 0.6), one_slice(9, 0.2, expected=True)]
    report = StructureReport("organ", "found", 1.0, 1.0, 0.0, (*drawn, *empty))
    assert [one.index for one in report.worst_slices] == [9, 6, 4, 7, 5]
