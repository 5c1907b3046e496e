"""What the cases of a study share is computed once; what a case alone needs does not stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from drawn_study import Drawn
from tiny_sam import tiny_model

from adaptsam.evaluation.case_worker import Setting, Worker
from adaptsam.evaluation.evaluation_cases import PictureTask, StudyCase
from adaptsam.evaluation.methods import Outlined, Pair, persam_f
from adaptsam.evaluation.methods import finetuned_rows as finetuned

METHODS = ("fine-tune", "persam-f", "panet")


@dataclass(frozen=True)
class ShownOne:
    """A picture, and one outlined picture that every case reads anew."""

    seed: int

    def __call__(self) -> Iterator[PictureTask]:
        image, mask = Drawn(self.seed).read()
        yield PictureTask(Pair(str(self.seed), Outlined(*Drawn(1000).read()), image), mask)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often something is learned."""
    calls: dict[str, int] = {}

    def watch(module, name: str) -> None:
        real = getattr(module, name)

        def counting(*args):
            calls[name] = calls.get(name, 0) + 1
            return real(*args)

        monkeypatch.setattr(module, name, counting)

    watch(finetuned, "trained_on")
    watch(persam_f, "learn_scale")
    return calls


def test_a_picture_that_all_cases_are_shown_is_encoded_and_learned_from_once(counted: dict[str, int]) -> None:
    cases = [StudyCase(str(seed), ShownOne(seed)) for seed in range(3)]
    worker = Worker(tiny_model(), Setting(METHODS))
    together = [worker.run(case, METHODS).record for case in cases]
    assert counted == {"trained_on": 1, "learn_scale": 1}
    store = worker._bench.store
    assert store.encoded == 1 + len(cases)
    assert store.folder is None, "the disk holds a case's images only as long as the case lasts"
    for case, one in zip(cases, together, strict=True):
        alone = Worker(tiny_model(), Setting(METHODS)).run(case, METHODS).record
        for name in METHODS:
            assert one["methods"][name]["items"] == alone["methods"][name]["items"]
