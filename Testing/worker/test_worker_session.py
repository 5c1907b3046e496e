"""What the worker remembers between requests, without its process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from thorax import thorax
from tiny_sam import tiny_model

from adaptsam.errors import Cancelled
from adaptsam.sam import EmbeddingStore
from adaptsam.worker import wire_format as wire
from adaptsam.worker.worker_session import Session

QUICK = {"register": "off", "fusion": "off", "acceptance": "off", "p2sam.positives": [1, 1]}


def test_runs_that_were_cancelled_do_not_put_out_the_one_that_is_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = thorax()
    grid = case.volume.geometry
    heart = {"name": "heart", "mask": wire.pack_mask(case.mask("heart")[5:7])}

    def image() -> dict[str, Any]:
        shape = (2, *grid.shape[1:])
        place = {"shape": shape, "spacing": grid.spacing, "origin": grid.origin, "direction": grid.direction}
        return {"array": wire.write_array(tmp_path, case.volume.array[5:7]), "geometry": place, "modality": "CT"}

    def asked(run: str) -> dict[str, Any]:
        content = {"prior": image(), "structures": [heart], "targets": [{**image(), "key": "t"}], "settings": QUICK}
        return {"do": "propagate", "run": run, **content}

    session = Session(tmp_path)
    store = EmbeddingStore(tiny_model())
    monkeypatch.setattr(session, "store", lambda *values: store)
    told: list[str] = []

    def emit(event: str, **content: Any) -> None:
        told.append(content.get("stage", event))

    def go_on() -> None:
        pass

    def stop() -> None:
        if "segment" in told:
            raise Cancelled("Cancelled.")

    session.answer(asked("kept"), emit, go_on)
    for number in range(3):
        told.clear()
        with pytest.raises(Cancelled):
            session.answer(asked(f"cancelled {number}"), emit, stop)
    told.clear()
    correction = {"do": "correct", "run": "kept", "target": "t", "structure": "heart", "index": 1}
    session.answer({**correction, "points": [[30, 30]], "labels": [1]}, emit, go_on)
    assert [one for one in told if one != "partial"] == ["slice"]  # a slow machine shows the slice as it comes, too
