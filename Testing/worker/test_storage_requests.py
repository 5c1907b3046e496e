"""Weights come and go by request, with words about it; what was encoded is counted and cleared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptsam.errors import Cancelled
from adaptsam.storage.disk_cache import KeptFolder
from adaptsam.worker import storage_requests as kept_files


def test_fetching_tells_how_much_is_here_and_stops_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, Any]] = []
    asked: list[int] = []

    def fetch(name: str, *, progress: Any) -> None:
        assert name == "vit_b"
        for done in (10, 50, 100):
            progress("fetch vit_b", done, 100)

    def check() -> None:
        asked.append(1)
        if len(asked) == 5:
            raise Cancelled("Cancelled.")

    monkeypatch.setattr(kept_files, "fetch", fetch)
    monkeypatch.setattr(kept_files, "TOLD_EVERY", 0.0)
    request = {"name": "vit_b"}
    kept_files.fetch_weights(request, lambda event, **more: told.append((event, more["share"])), check)
    assert told == [("progress", 0.1), ("progress", 0.5), ("progress", 1.0)]
    with pytest.raises(Cancelled):
        kept_files.fetch_weights(request, lambda *_, **__: None, check)


def test_what_is_kept_is_counted_and_cleared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import numpy as np

    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "kept"))
    KeptFolder(tmp_path / "kept").write("a" * 64, {"features": np.zeros(100, np.float32)})
    told: list[dict[str, Any]] = []
    kept_files.kept({}, lambda _event, **more: told.append(more), lambda: None)
    kept_files.kept({"clear": True}, lambda _event, **more: told.append(more), lambda: None)
    assert told[0]["files"] == 1
    assert told[0]["bytes"] > 400
    assert (told[1]["files"], told[1]["bytes"]) == (0, 0)
