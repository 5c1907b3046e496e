"""The contour that another observer drew on the target: how far apart people are."""

from __future__ import annotations

from adaptsam.errors import InputError
from adaptsam.evaluation.methods.evaluated_method import Found, Method, VolumePair, Workbench, found_structures


class AnotherObserver(Method):
    """The next observer's contours of the target; what a method's difference from one observer is compared with."""

    name, title = "observer", "another observer"

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        if pair.another_observer is None:
            raise InputError("Only one observer contoured this target; give target_mask as a list of several.")
        return found_structures(pair, {one.name: one.mask for one in pair.another_observer.structures})
